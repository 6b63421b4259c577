"""Writes the key list that all three generators hash: one key a line, as hex; the first is empty.

    python3 tests/vectors/generate/keys.py > tests/vectors/keys.txt

Deterministic: the random-looking keys are prefixes of SHA-256 streams.
"""

import hashlib
import struct

# The shortest keys over [a-z0-9] that a hash sends to i32::MIN, where an absolute value overflows.
INT_MIN = [
    b"qqk42v",  # FNV-1a
    b"d26skop",  # murmur2
    b"ulq7ya",  # CRC-32
]

# The keys of Apache Kafka's own UtilsTest.testMurmur2.
KAFKA = [
    "21",
    "foobar",
    "a-little-bit-long-string",
    "a-little-bit-longer-string",
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
    "abc",
]

NON_ASCII = [
    "héllo",
    "he\u0301llo",  # reads the same, and is another key
    "naïve",
    "Zürich",
    "smørrebrød",
    "ключ",
    "κλειδί",
    "מפתח",
    "مفتاح",
    "鍵",
    "열쇠",
    "กุญแจ",
    "🔑",
    "👩‍👩‍👧",
    "\u00a0",
    "\ufeff",
]

# Signed bytes, NULs and invalid UTF-8.
BYTES = [
    b"\x00",
    b"\x00\x00",
    b"\x00\x00\x00\x00",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xfe",
    b"\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80",
    b"a\x00",
    b"\xed\xa0\x80",
]


def noise(seed, length):
    out = b""
    block = 0
    while len(out) < length:
        out += hashlib.sha256(f"{seed}/{block}".encode()).digest()
        block += 1
    return out[:length]


def keys():
    yield b""
    yield from INT_MIN
    yield from (key.encode() for key in KAFKA + NON_ASCII)
    yield from BYTES
    # Text as in the keys of real topics.
    yield from (str(n).encode() for n in range(-10, 190))
    yield from (f"user-{n}".encode() for n in range(250))
    yield from (f"N{n:03}JB".encode() for n in range(100))
    yield from (noise(f"uuid/{n}", 16).hex().encode() for n in range(64))
    # Fixed-width integers, big-endian as Kafka's LongSerializer writes them.
    yield from (struct.pack(">q", n * n * 1_000_003 - n) for n in range(-64, 64))
    # Every length, so that each tail of a block-wise hash occurs many times.
    yield from (noise(f"length/{n}", n) for n in range(1, 257))
    yield noise("long", 4096)


unique = list(dict.fromkeys(keys()))
for key in unique:
    print(key.hex())
