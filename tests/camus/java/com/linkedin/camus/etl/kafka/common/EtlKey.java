package com.linkedin.camus.etl.kafka.common;

import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.MapWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.io.Writable;
import org.apache.hadoop.io.WritableComparable;

/** Camus's key of offset and error files, written for these tests from its description: fields in their order, then Hadoop's own MapWritable. */
public class EtlKey implements WritableComparable<EtlKey> {
	public String leaderId = "", topic = "", server = "", service = "";
	public int partition;
	public long beginOffset, offset, checksum, time;
	public MapWritable map = new MapWritable();

	@Override
	public void readFields(DataInput in) throws IOException {
		leaderId = in.readUTF();
		partition = in.readInt();
		beginOffset = in.readLong();
		offset = in.readLong();
		checksum = in.readLong();
		topic = in.readUTF();
		time = in.readLong();
		server = in.readUTF();
		service = in.readUTF();
		map = new MapWritable();
		map.readFields(in);
	}

	@Override
	public void write(DataOutput out) throws IOException {
		out.writeUTF(leaderId);
		out.writeInt(partition);
		out.writeLong(beginOffset);
		out.writeLong(offset);
		out.writeLong(checksum);
		out.writeUTF(topic);
		out.writeLong(time);
		out.writeUTF(server);
		out.writeUTF(service);
		map.write(out);
	}

	public String entry(String name) {
		Writable value = map.get(new Text(name));
		return value == null ? "-" : value.toString();
	}

	public void size(long bytes) {
		map.put(new Text("message.size"), new LongWritable(bytes));
	}

	@Override
	public int compareTo(EtlKey other) {
		return Long.compare(offset, other.offset);
	}
}
