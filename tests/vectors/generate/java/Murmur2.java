// The partitions that Kafka's Java producer gives to keys, by the client's own classes.
// Needs a JDK 17 and Maven; run in this directory:
//
//   mvn -q dependency:copy -DoutputDirectory=jars -Dartifact=org.apache.kafka:kafka-clients:4.1.0
//   mvn -q dependency:copy -DoutputDirectory=jars -Dartifact=org.slf4j:slf4j-api:1.7.36
//   java -cp 'jars/*' Murmur2.java < ../../keys.txt > ../../murmur2.tsv

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

class Murmur2 {
    private static final int[] COUNTS = {1, 3, 8, 12, 100, 1000};

    public static void main(String[] args) throws Exception {
        StringBuilder out = new StringBuilder("key\thash");
        for (int count : COUNTS) {
            out.append('\t').append(count);
        }
        out.append('\n');

        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            byte[] key = HexFormat.of().parseHex(line);
            out.append(line).append(String.format("\t%08x", Utils.murmur2(key)));
            for (int count : COUNTS) {
                out.append('\t').append(BuiltInPartitioner.partitionForKey(key, count));
            }
            out.append('\n');
        }
        System.out.print(out);
    }
}
