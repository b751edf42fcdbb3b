#!/usr/bin/env python3
"""ringlog_reader.py DIR...: prints all records of a ring log, a JSON object a line. Written from docs/ringlog-format.md alone, with no
line shared with the C reader: what one of the two understands otherwise, the test that holds them against each other shows.

As a module: read_log(dirs) gives (records, damage). Records are dicts as printed; damage a list of (from, to)."""
import codecs
import json
import os
import re
import struct
import sys

PAGE = 4096


def crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC_TABLE = crc_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    table = CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


class Bad(Exception):
    pass


class Bytes:
    """A cursor over bytes."""

    def __init__(self, data, at=0, end=None):
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def u8(self):
        if self.at >= self.end:
            raise Bad("ends too early")
        self.at += 1
        return self.data[self.at - 1]

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (1 << 64) - 1
        raise Bad("varint is too long")

    def take(self, length):
        if length > self.end - self.at:
            raise Bad("ends too early")
        self.at += length
        return self.data[self.at - length:self.at]

    def rest(self):
        return self.take(self.end - self.at)


def zigzag(n):
    return n >> 1 ^ -(n & 1)


def one_by_one(error):
    return "".join(chr(byte) for byte in error.object[error.start:error.end]), error.end


codecs.register_error("one_by_one", one_by_one)


def put(record, name, value):
    """Text stands as it is; bytes that are no UTF-8 as hex under another name."""
    try:
        record[name] = value.decode("utf-8")
    except UnicodeDecodeError:
        record[name + "_hex"] = value.hex()


HEADER = struct.Struct("<IHH16sIIQQIIQQQIIQQIIIIIIIIII16s16s72sII")
FIELDS = ("magic version flags log_id epoch bytes position first_event events records first_time last_time group_position group_index"
          " group_count durable previous_end previous_crc raw_bytes dict_count dict_bytes set_count set_bytes record_bytes cipher key_id"
          " zero nonce tag reserved payload_crc header_crc").split()
assert HEADER.size == 256


class Head:
    """The header of a block alone, as attributes; raises Bad when it is none of this log and place."""

    def __init__(self, page, position, log_id):
        self.__dict__.update(zip(FIELDS, HEADER.unpack(page[:256])))
        if self.magic != 0x42525350:
            raise Bad("no block")
        if crc32c(page[:252]) != self.header_crc:
            raise Bad("header")
        if self.version not in (1, 2):
            raise Bad("version")
        if self.log_id != log_id:
            raise Bad("another log")
        if self.position != position:
            raise Bad("another position")
        used = (256 + self.raw_bytes + 4 * self.dict_count + self.dict_bytes + 4 * self.set_count + self.set_bytes + self.record_bytes)
        if self.bytes % PAGE or not self.bytes or used > self.bytes or self.group_index >= self.group_count:
            raise Bad("lengths")
        self.used = used


class Block(Head):
    """One block; raises Bad when it is not whole."""

    def __init__(self, page, position, log_id, read):
        super().__init__(page, position, log_id)
        used = self.used
        if self.cipher:
            raise Bad("encrypted")
        data = read(position, self.bytes)
        if crc32c(data[256:used]) != self.payload_crc:
            raise Bad("payload")
        self.data = data

    def table(self, at, count, length):
        """`count` end offsets, then the bytes they cut up."""
        ends = struct.unpack_from(f"<{count}I", self.data, at)
        start = at + 4 * count
        items, begin = [], 0
        for end in ends:
            if not begin <= end <= length:
                raise Bad("table")
            items.append(self.data[start + begin:start + end])
            begin = end
        return items, start + length

    def header(self, cursor, names, body):
        reference = cursor.varint()
        name = names[(reference >> 2) - 1] if reference >> 2 else cursor.take(cursor.varint())
        kind = reference & 3
        if kind == 0:
            value = cursor.take(cursor.varint())
        elif kind == 1:
            offset, length = cursor.varint(), cursor.varint()
            if body is None or offset + length > len(body):
                raise Bad("slice")
            value = body[offset:offset + length]
        else:
            number = zigzag(cursor.varint())
            if kind == 3:
                number += self.first_time // 1000000
            value = str(number).encode()
        return name, value

    def content(self):
        bodies = Bytes(self.data, 256, 256 + self.raw_bytes)
        names, at = self.table(bodies.end, self.dict_count, self.dict_bytes)
        sets, at = self.table(at, self.set_count, self.set_bytes)
        opened = []
        for one in sets:
            cursor = Bytes(one)
            opened.append([self.header(cursor, names, None) for _ in range(cursor.varint())])
        cursor = Bytes(self.data, at, at + self.record_bytes)
        number, records = self.first_event, 0

        def body_of(length):
            body = bodies.take(length)
            bodies.take(1)
            return body

        while cursor.at < cursor.end:
            records += 1
            lead = cursor.u8()
            if lead & 7 == 0:
                own = lead >> 4
                if own == 15:
                    own = cursor.varint()
                body = body_of(cursor.varint())
                shared = opened[cursor.varint()] if lead & 8 else []
                headers = [self.header(cursor, names, body) for _ in range(own)]
                mine = {name for name, _ in headers}
                headers += [h for h in shared if h[0] not in mine]
                record = {"number": number, "headers": headers_of(headers)}
                put(record, "body", body)
                number += 1
                yield record
                continue
            length = cursor.varint()
            body = body_of(cursor.varint()) if lead & 16 else None
            payload = Bytes(cursor.take(length))
            yield self.other(lead, payload, body, names)
        if number != self.first_event + self.events or records != self.records:
            raise Bad("counts")

    def other(self, lead, payload, body, names):
        kind = lead & 7
        if kind > 4 and lead & 8:
            raise Bad("a record that must be understood")
        record = {"record": ["event", "fragment", "control", "state", "mark", "5", "6", "7"][kind], "position": self.position}
        if kind == 1:
            record["stream"] = payload.varint()
            flags = payload.u8()
            record["first"], record["last"] = flags & 1, flags >> 1 & 1
            record["headers"] = headers_of([self.header(payload, names, None) for _ in range(payload.varint())])
        elif kind == 2:
            record["kind"] = payload.varint()
            put(record, "payload", payload.rest())
        elif kind == 3:
            record["class"] = payload.u8()
            record["order"] = payload.varint()
            put(record, "key", payload.take(payload.varint()))
            put(record, "value", payload.rest())
        elif kind == 4:
            put(record, "source", payload.take(payload.varint()))
            put(record, "mark", payload.take(payload.varint()))
        else:
            put(record, "payload", payload.rest())
        if body is not None:
            put(record, "body", body)
        return record


def headers_of(headers):
    out = {}
    for name, value in headers:
        put(out, name.decode("utf-8", "one_by_one"), value)
    return out


class Log:
    def __init__(self, dirs):
        self.dirs = dirs
        self.segments = {}
        for number, where in enumerate(dirs):
            with open(os.path.join(where, "ringlog.meta"), "rb") as file:
                meta = file.read(40)
            magic, version, log_id, segment_bytes, count, crc = struct.unpack("<II16sQII", meta)
            if magic != 0x4D525350 or crc != crc32c(meta[:36]) or version not in (1, 2) or count != len(dirs):
                raise Bad("ringlog.meta of " + where)
            if number and log_id != self.log_id:
                raise Bad("another log in " + where)
            self.log_id, self.segment_bytes = log_id, segment_bytes
            for name in os.listdir(where):
                match = re.fullmatch("segment-([0-9a-f]{16})", name)
                if match and int(match[1], 16) % count == number:
                    self.segments[int(match[1], 16)] = os.path.join(where, name)

    def read(self, position, length):
        index, offset = divmod(position, self.segment_bytes)
        if index not in self.segments or offset + length > self.segment_bytes:
            raise Bad("no segment")
        with open(self.segments[index], "rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) < length:
            raise Bad("short segment")
        return data

    def group(self, position):
        """The blocks of the group that begins at a position."""
        blocks, crc, at = [], 0, position
        while True:
            block = Block(self.read(at, PAGE), at, self.log_id, self.read)
            first = blocks[0] if blocks else block
            if (block.group_position != position or block.group_index != len(blocks) or block.group_count != first.group_count
                    or block.epoch != first.epoch or block.previous_end != first.previous_end or block.previous_crc != first.previous_crc):
                raise Bad("another group")
            blocks.append(block)
            crc = crc32c(struct.pack("<I", block.header_crc), crc)
            at += block.bytes
            if len(blocks) == block.group_count:
                return blocks, at, crc

    def fences_find(self):
        """The first blocks of segments that say where an extent was given up: (its end, place of the fence, epoch)."""
        self.fences, self.begins = [], {}
        for index in sorted(self.segments):
            try:
                self.begin_find(index)
                first = self.group(index * self.segment_bytes)[0][0]
            except Bad:
                continue
            if first.flags & 1 and first.previous_end < first.position:
                self.fences.append((first.previous_end, first.position, first.epoch))

    def begin_find(self, index):
        """What the segment's first group says that it follows; of its first block, or the next that can be read."""
        begin = index * self.segment_bytes
        for at in range(begin, min(begin + self.segment_bytes, begin + (1 << 20)), PAGE):
            page = self.read(at, PAGE)
            header = dict(zip(FIELDS, HEADER.unpack(page[:256])))
            if header["magic"] == 0x42525350 and header["header_crc"] == crc32c(page[:252]) and header["log_id"] == self.log_id and \
                    header["position"] == at:
                if header["group_position"] == begin:
                    self.begins[index] = (header["previous_end"], header["epoch"])
                return

    def given_up(self, block):
        if any(end <= block.position < at and block.epoch <= epoch for end, at, epoch in self.fences):
            return True
        begin = self.begins.get(block.position // self.segment_bytes + 1)	# (end of the group before it, its epoch)
        return begin is not None and begin[0] <= block.position and block.epoch <= begin[1]

    def search(self, start, epoch, above):
        """The first whole group from `start` on whose epoch is not lower and, with above, whose `durable` lies above `start`. Else
        self.proven is the highest `durable` that the header of a block tells whose group is not whole."""
        self.proven = 0
        for index in sorted(self.segments):
            begin = index * self.segment_bytes
            for at in range(max(begin, start), begin + self.segment_bytes, PAGE):
                try:
                    page = self.read(at, PAGE)
                    if page[:4] != b"PSRB":
                        continue
                    head = Head(page, at, self.log_id)
                    if above and head.epoch >= epoch and not self.given_up(head) and start < head.durable <= at:
                        self.proven = max(self.proven, head.durable)
                    blocks, _, _ = self.group(at)
                except Bad:
                    continue
                if blocks[0].epoch >= epoch and not self.given_up(blocks[0]) and (not above or blocks[0].durable > start):
                    return at
        return None

    def walk(self, damage):
        self.fences_find()
        end = self.search(0, 0, False)
        if end is None:
            return
        if end % self.segment_bytes:	# a segment begins with a group
            damage.append((end - end % self.segment_bytes, end))
        chain, epoch = None, 0
        while True:
            found = None
            fences = [at for ends, at, _ in self.fences if ends == end]
            for at in (end, max(fences) if fences else -(-end // self.segment_bytes) * self.segment_bytes):
                try:
                    blocks, after, crc = self.group(at)
                except Bad:
                    continue
                first = blocks[0]
                if first.epoch >= epoch and not self.given_up(first) and (chain is None or (first.previous_end, first.previous_crc) == (end, chain)):
                    found = blocks
                    break
            if not found:
                later = self.search(end, epoch, True)
                if later is None and self.proven <= end:
                    return
                durable = self.proven if later is None else self.group(later)[0][0].durable
                later = self.proven if later is None else later
                bad = at = end	# below `durable` blocks count that are whole by themselves
                while at < later:
                    try:
                        block = Block(self.read(at, PAGE), at, self.log_id, self.read) if at < durable else None
                    except Bad:
                        block = None
                    if block and block.epoch >= epoch and not self.given_up(block) and at + block.bytes <= later:
                        if bad < at:
                            damage.append((bad, at))
                        epoch = block.epoch
                        yield from block.content()
                        bad = at = at + block.bytes
                    else:
                        at += PAGE
                if bad < later:
                    damage.append((bad, later))
                end, chain = later, None
                continue
            for block in found:
                yield from block.content()
            end, chain, epoch = after, crc, found[0].epoch


def read_log(dirs):
    damage = []
    return list(Log(dirs).walk(damage)), damage


if __name__ == "__main__":
    torn = []
    for line in Log(sys.argv[1:]).walk(torn):
        print(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
    for begin, end in torn:
        print(f"damaged: position {begin} to {end}", file=sys.stderr)
    sys.exit(1 if torn else 0)
