"""The partitions that librdkafka's `consistent` partitioner gives to keys.

The C library, 2.16.0, is called as it comes in the `confluent-kafka` wheel for Linux. Run in this
directory:

    python3 -m venv venv && venv/bin/pip install confluent-kafka==2.16.1
    venv/bin/python crc32.py < ../../keys.txt > ../../crc32.tsv

`consistent`, not the default `consistent_random`: the two differ in the empty key alone, which the
default scatters.
"""

import ctypes
import importlib.util
import pathlib
import sys

COUNTS = [1, 3, 8, 12, 100, 1000]

package = pathlib.Path(importlib.util.find_spec("confluent_kafka").origin).parent
(path,) = package.parent.glob("confluent_kafka.libs/librdkafka*.so*")
librdkafka = ctypes.CDLL(str(path))
consistent = librdkafka.rd_kafka_msg_partitioner_consistent
consistent.restype = ctypes.c_int32
consistent.argtypes = [
    ctypes.c_void_p,  # topic, unused
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_void_p,
]


def partition(key, count):
    return consistent(None, key, len(key), count, None, None)


def raw_hash(key):
    """The 32 bits that the partitioner divides: the library does not export them, but two
    remainders whose moduli multiply to more than 2**32 determine them."""
    low = partition(key, 1 << 30)
    other = partition(key, (1 << 31) - 1)
    (found,) = [
        candidate
        for candidate in (low + (high << 30) for high in range(4))
        if candidate % ((1 << 31) - 1) == other
    ]
    return found


print("key", "hash", *COUNTS, sep="\t")
for line in sys.stdin:
    key = bytes.fromhex(line)
    row = [partition(key, count) for count in COUNTS]
    print(key.hex(), f"{raw_hash(key):08x}", *row, sep="\t")
