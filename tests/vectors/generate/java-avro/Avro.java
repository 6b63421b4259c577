// The bytes that Confluent's Java serializer writes: a zero byte, the schema's id in four bytes,
// big-endian, then Avro's binary encoding (`AbstractKafkaAvroSerializer.serializeImpl`).
//
// Confluent's artifacts are not on Maven Central, and these vectors were made without them: the
// header is written here as its documentation says, the rest is made by Apache Avro's own library,
// which Confluent's serializer calls. Needs a JDK 17 and Maven; run in this directory:
//
//   mvn -q dependency:copy-dependencies -DoutputDirectory=jars
//   java -cp 'jars/*' Avro.java > ../../avro.tsv

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;

class Avro {
    private static final String FIRST = "{\"type\":\"record\",\"name\":\"Ride\",\"namespace\":\"taxi\",\"fields\":["
        + "{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"driver\",\"type\":\"string\"}]}";
    private static final String SECOND = "{\"type\":\"record\",\"name\":\"Ride\",\"namespace\":\"taxi\",\"fields\":["
        + "{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"driver\",\"type\":\"string\"},"
        + "{\"name\":\"stops\",\"type\":{\"type\":\"array\",\"items\":\"double\"},\"default\":[]}]}";

    public static void main(String[] args) throws Exception {
        System.out.print("id\tschema\tbytes\tride id\tdriver\tstops\n");
        long[] ids = {0, -1, 63, 64, Long.MIN_VALUE, Long.MAX_VALUE};
        String[] drivers = {"", "alice", "Zürich 🚕", "b\0b", "c", "d"};
        for (int i = 0; i < ids.length; i++) {
            row(17, FIRST, ids[i], drivers[i], null);
            row(0x01020304, SECOND, ids[i], drivers[i], i % 2 == 0 ? List.of() : List.of(0.5, -1e300));
        }
    }

    private static void row(int id, String text, long ride, String driver, List<Double> stops) throws Exception {
        Schema schema = new Schema.Parser().parse(text);
        GenericRecord record = new GenericData.Record(schema);
        record.put("id", ride);
        record.put("driver", driver);
        if (stops != null) {
            record.put("stops", new ArrayList<>(stops));
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(0);
        out.write(ByteBuffer.allocate(4).putInt(id).array());
        BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(out, null);
        new GenericDatumWriter<GenericRecord>(schema).write(record, encoder);
        encoder.flush();
        HexFormat hex = HexFormat.of();
        List<String> shown = new ArrayList<>();
        if (stops != null) {
            stops.forEach(stop -> shown.add(hex.toHexDigits(Double.doubleToLongBits(stop))));
        }
        System.out.println(id + "\t" + text + "\t" + hex.formatHex(out.toByteArray()) + "\t" + ride + "\t"
            + hex.formatHex(driver.getBytes("UTF-8")) + "\t" + String.join(",", shown));
    }
}
