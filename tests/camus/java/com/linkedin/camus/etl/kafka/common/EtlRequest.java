package com.linkedin.camus.etl.kafka.common;

import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import org.apache.hadoop.io.Writable;

/** Camus's request, written for these tests from its description. */
public class EtlRequest implements Writable {
	public String topic = "", leaderId = "", uri = "";
	public int partition;
	public long offset, latestOffset;

	@Override
	public void readFields(DataInput in) throws IOException {
		topic = in.readUTF();
		leaderId = in.readUTF();
		uri = in.readUTF();
		partition = in.readInt();
		offset = in.readLong();
		latestOffset = in.readLong();
	}

	@Override
	public void write(DataOutput out) throws IOException {
		out.writeUTF(topic);
		out.writeUTF(leaderId);
		out.writeUTF(uri);
		out.writeInt(partition);
		out.writeLong(offset);
		out.writeLong(latestOffset);
	}
}
