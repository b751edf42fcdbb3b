// HadoopShell: Hadoop's own command-line tools (FsShell, DFSAdmin, DFSHAAdmin ...), kept running, so that a test does not wait for a JVM's start at
// each call. Prints its port and answers, one after the other, requests of one line: the class, the files for standard output and error, and the
// arguments, each behind a 0x1f; the answer is the exit code. Ends when its standard input does.
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.util.Tool;
import org.apache.hadoop.util.ToolRunner;

public class HadoopShell {
	private static int run(String[] part) throws Exception {
		PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(part[1]), 1 << 16));
		PrintStream err = new PrintStream(new FileOutputStream(part[2]));
		PrintStream oldOut = System.out, oldErr = System.err;
		System.setOut(out);
		System.setErr(err);
		try {
			// Made anew each time: some keep the streams they found when they were made.
			Tool tool = (Tool)Class.forName(part[0]).getDeclaredConstructor().newInstance();
			HdfsConfiguration conf = new HdfsConfiguration();
			conf.setInt("ipc.client.connection.maxidletime", 200);	// a NameNode that was started again is met by a new connection
			return ToolRunner.run(conf, tool, Arrays.copyOfRange(part, 3, part.length));
		} catch (Throwable t) {
			t.printStackTrace(err);
			return 255;
		} finally {
			System.setOut(oldOut);
			System.setErr(oldErr);
			out.close();
			err.close();
		}
	}

	public static void main(String[] args) throws Exception {
		ServerSocket server = new ServerSocket(0, 64, InetAddress.getByName("127.0.0.1"));
		Thread end = new Thread(() -> {
			try {
				while (System.in.read() >= 0)
					;
			} catch (java.io.IOException e) {
			}
			Runtime.getRuntime().halt(0);
		});
		end.setDaemon(true);
		end.start();
		System.out.println(server.getLocalPort());
		System.out.flush();
		for (;;) {
			try (Socket socket = server.accept()) {
				BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
				String line = in.readLine();
				if (line == null)
					continue;
				String[] part = line.split("\u001f", -1);
				int rc = part.length < 3 ? 255 : run(part);
				socket.getOutputStream().write((rc + "\n").getBytes(StandardCharsets.UTF_8));
			} catch (java.io.IOException e) {
				// a caller that went away
			}
		}
	}
}
