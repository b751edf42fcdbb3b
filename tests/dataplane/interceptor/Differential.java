import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.regex.*;

/** Reads "pattern TAB text" (both hexadecimal UTF-8 or any bytes, the text as a Flume body) and answers, line by line, what java.util.regex finds:
 *  "E" no pattern, "N" nothing found, else the groups as hexadecimal UTF-8 ("-" for one that took no part), blank separated. */
public class Differential {
	static byte[] bytes(String hex) {
		byte[] out = new byte[hex.length() / 2];
		for (int i = 0; i < out.length; i++)
			out[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
		return out;
	}

	public static void main(String[] args) throws IOException {
		BufferedReader in = new BufferedReader(new FileReader(args[0]));
		PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(args[1])));
		String last = null;
		Pattern pattern = null;
		for (String line; (line = in.readLine()) != null;) {
			int tab = line.indexOf('\t');
			String source = line.substring(0, tab);
			if (!source.equals(last)) {
				last = source;
				try {
					pattern = Pattern.compile(new String(bytes(source), StandardCharsets.UTF_8));
				} catch (IllegalArgumentException e) {
					pattern = null;
				}
			}
			if (pattern == null) {
				out.println("E");
				continue;
			}
			Matcher matcher = pattern.matcher(new String(bytes(line.substring(tab + 1)), StandardCharsets.UTF_8));
			if (!matcher.find()) {
				out.println("N");
				continue;
			}
			StringBuilder groups = new StringBuilder();
			for (int i = 0; i <= matcher.groupCount(); i++) {
				if (i > 0)
					groups.append(' ');
				String group = matcher.group(i);
				if (group == null)
					groups.append('-');
				else
					for (byte b : group.getBytes(StandardCharsets.UTF_8))
						groups.append(String.format("%02x", b));
			}
			out.println(groups);
		}
		out.close();
	}
}
