import com.linkedin.camus.etl.kafka.common.EtlKey;
import com.linkedin.camus.etl.kafka.common.EtlRequest;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.BytesWritable;
import org.apache.hadoop.io.NullWritable;
import org.apache.hadoop.io.SequenceFile;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.io.Writable;
import org.apache.hadoop.util.ReflectionUtils;

/** A Camus history by Hadoop's own reader and writer.
 *    read FILE...                                       one line a record: class, topic, partition, offsets, ...
 *    write NONE|RECORD|BLOCK FILE topic:partition:offset:time:size...   */
public class CamusHistory {
	private static final Configuration conf = new Configuration();

	private static void read(String name) throws Exception {
		try (SequenceFile.Reader reader = new SequenceFile.Reader(conf, SequenceFile.Reader.file(new Path("file://" + name)))) {
			Writable key = (Writable) ReflectionUtils.newInstance(reader.getKeyClass(), conf);
			Writable value = reader.getValueClass() == NullWritable.class ? NullWritable.get()
				: (Writable) ReflectionUtils.newInstance(reader.getValueClass(), conf);
			while (reader.next(key, value)) {
				if (key instanceof EtlRequest) {
					EtlRequest r = (EtlRequest) key;
					System.out.println("request " + r.topic + " " + r.partition + " " + r.offset + " " + r.latestOffset + " leader=" + r.leaderId);
					continue;
				}
				EtlKey k = (EtlKey) key;
				Writable payload = k.map.get(new Text("payload"));
				System.out.println("key " + k.topic + " " + k.partition + " " + k.beginOffset + " " + k.offset + " time=" + k.time + " size="
					+ k.entry("message.size") + " server=" + k.entry("server") + " leader=[" + k.leaderId + "] payload="
					+ (payload == null ? "-" : new String(((BytesWritable) payload).copyBytes(), "UTF-8")) + " " + value);
			}
		}
	}

	public static void main(String[] args) throws Exception {
		if (args[0].equals("read")) {
			for (int i = 1; i < args.length; i++)
				read(args[i]);
			return;
		}
		try (SequenceFile.Writer writer = SequenceFile.createWriter(conf, SequenceFile.Writer.file(new Path("file://" + args[2])),
			SequenceFile.Writer.keyClass(EtlKey.class), SequenceFile.Writer.valueClass(NullWritable.class),
			SequenceFile.Writer.compression(SequenceFile.CompressionType.valueOf(args[1])))) {
			for (int i = 3; i < args.length; i++) {
				String[] part = args[i].split(":");
				EtlKey key = new EtlKey();
				key.topic = part[0];
				key.partition = Integer.parseInt(part[1]);
				key.offset = Long.parseLong(part[2]);
				key.beginOffset = key.offset - 1;
				key.time = Long.parseLong(part[3]);
				key.size(Long.parseLong(part[4]));
				writer.append(key, NullWritable.get());
			}
		}
	}
}
