"""Sorting kernels: the positions of the elements of a line in order, equal ones in the order in which they stand.

A line becomes an array of *items*, ``key << 32 | position``. Keys are unsigned integers in the order of the elements: the bits of a float,
turned round where it is negative, with NaN as the largest and the two zeros alike; flipped if the order is descending. Items are sorted
by a radix sort, one byte of the key after the other from the lowest; a byte that all keys share is left out. Of a short line, what is
smaller than each element is counted. A long line is cut into *parts* whose items lie in a core's own cache while they are sorted;
``merging.py`` makes one line of them. That is also what the threads share.

Only some *ranks* may be wanted: those of ``topk`` are ``[0, k)``, that of a median is the middle one. Then the highest bytes of all keys are
counted, and only the items whose bytes can have one of these ranks are sorted. If a few of the first ranks are wanted, of a line that is
contiguous, they are kept in a sorted list, to which hardly any element of the rest of the line has to be compared one by one.
"""

from __future__ import annotations

from functools import lru_cache

from flambeau._codegen.ir import Builder, Module, Value, constant, constant_vector, i64
from flambeau._codegen.loops import finish
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

COUNTED = 96
"""Elements of lines up to so long are counted, which takes a quarter of the time of insertion at 32, whose branches nobody foresees."""
SHORT = 48
"""Up to so many items of a longer line are sorted by insertion."""
FEW = 128
LANES = 16
_MANTISSAS = {dt.float16: 10, dt.bfloat16: 7, dt.float32: 23, dt.float64: 52}


def key_bits(of: DType) -> int:
    return 8 * of.itemsize


def scratch_bytes(of: DType, length: int) -> int:
    """Two arrays of items, and the counts of bytes (before, in the same place, those of the highest)."""
    return 2 * length * _item_bits(of) // 8 + max(8 * 256 * of.itemsize, 4 << 16)


def _item_bits(of: DType) -> int:
    return 64 if of.itemsize <= 4 else 128


def item_type(of: DType) -> str:
    return f"i{_item_bits(of)}"


def part_length(of: DType) -> int:
    """How many elements of a long line are sorted at once: their items and a second array of them are 1 MiB."""
    return (1 << 22) // _item_bits(of)


@lru_cache(maxsize=256)
def sort_kernel(of: DType, descending: bool, mode: str) -> tuple[str, str]:
    """The positions of ranks ``[low, high)`` of each line, int64.

    ``mode`` is ``all``, ``some``, or ``few`` (see ``mode_for``), or ``each``, where lines have ranks of their own: the last two parameters
    are slot and bytes of these, one int64 a line.

    Parameters: ``[slot, bytes of the source, slot, bytes of the result, length, inner, low, high]``; line ``t`` begins at ``(t / inner) *
    length * inner + t % inner`` and goes on in steps of ``inner``; the lines of the result alike, but that they are ``high - low`` long. A
    tile is a line.
    """
    module = Module()
    f = module.function(
        "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
    )
    sort = _Sort(f, of, descending, mode in ("some", "each"))
    if mode == "few":
        sort.emit_few()
    else:
        sort.emit(mode == "each")
    return finish(module)


@lru_cache(maxsize=64)
def parts_kernel(of: DType, descending: bool) -> tuple[str, str]:
    """The items of each part of each line in order, the lines one behind the other.

    Parameters: ``[slot, bytes of the source, slot, bytes of the items, length, inner, part, parts]``, lines as in ``sort_kernel``. A tile is
    one of the parts of a line.
    """
    module = Module()
    f = module.function(
        "KERNEL", [("ptr noalias", "table"), ("ptr noalias", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")]
    )
    _Sort(f, of, descending, False).emit_parts()
    return finish(module)


def mode_for(length: int, inner: int, low: int, high: int) -> str:
    """How the ranks ``[low, high)`` of lines are best found."""
    if (low, high) == (0, length):
        return "all"
    return "few" if low == 0 and high <= FEW and inner == 1 and length >= 4 * high else "some"


class _Sort:
    def __init__(self, f: Builder, of: DType, descending: bool, partly: bool) -> None:
        self.f = f
        self.of = of
        self.descending = descending
        self.partly = partly
        self.bits = key_bits(of)
        self.item = item_type(of)
        self.first = i64(0)
        """The position of the first element of the line, or of the part of it, that is sorted."""

    def _word(self, position: int) -> Value:
        return self.f.load(self.f.offset(self.f.parameters[1], position, "i64"), "i64")

    def _buffer(self, position: int) -> Value:
        f = self.f
        return f.offset(f.load(f.offset(f.parameters[0], self._word(position), "ptr"), "ptr"), self._word(position + 1), "i8")

    def emit(self, own_ranks: bool) -> None:
        f = self.f
        source, target = self._buffer(0), self._buffer(2)
        self.length, self.inner = self._word(4), self._word(5)
        ranks = self._buffer(6) if own_ranks else None
        self._divide_scratch(self.length)
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            outer = f.binary("udiv", tiles.index, self.inner)
            within = f.sub(tiles.index, f.mul(outer, self.inner))
            self.low = self._word(6) if ranks is None else f.load(f.offset(ranks, tiles.index, "i64"), "i64")
            self.high = self._word(7) if ranks is None else f.add(self.low, 1)
            wanted = f.sub(self.high, self.low)
            self.line = f.offset(source, f.add(f.mul(f.mul(outer, self.inner), self.length), within), f"i{self.bits}")
            result = f.offset(target, f.add(f.mul(f.mul(outer, self.inner), wanted), within), "i64")
            with f.when(f.compare("sle", self.length, COUNTED)):
                self._count_smaller(result)
            with f.when(f.compare("sgt", self.length, COUNTED)):
                count, first = self._collect()
                with f.when(f.compare("sle", count, SHORT)):
                    self._insert(count)
                    self._write(self.items, first, result)
                with f.when(f.compare("sgt", count, SHORT)):
                    self._write(self._radix(count), first, result)
        f.ret()

    def emit_parts(self) -> None:
        f = self.f
        source, target = self._buffer(0), self._buffer(2)
        length, self.inner, part, parts = (self._word(position) for position in range(4, 8))
        self._divide_scratch(part)
        self.low = i64(0)
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            line = f.binary("udiv", tiles.index, parts)
            self.first = f.mul(f.sub(tiles.index, f.mul(line, parts)), part)
            self.length = f.intrinsic("smin", part, f.sub(length, self.first))
            outer = f.binary("udiv", line, self.inner)
            begin = f.add(f.mul(f.mul(outer, self.inner), length), f.sub(line, f.mul(outer, self.inner)))
            self.line = f.offset(source, f.add(begin, f.mul(self.first, self.inner)), f"i{self.bits}")
            count, _ = self._collect()
            result = f.offset(target, f.add(f.mul(line, length), self.first), self.item)
            f.copy(result, self._radix(count), f.mul(count, i64(_item_bits(self.of) // 8)))
        f.ret()

    def _divide_scratch(self, length: Value) -> None:
        self.items = self.f.parameters[4]
        self.other = self.f.offset(self.items, length, self.item)
        self.counts = self.f.offset(self.other, length, self.item)

    def emit_few(self) -> None:
        """Keep the first items of a line in order while going through it; a vector of keys without a smaller one is passed over."""
        f = self.f
        source, target = self._buffer(0), self._buffer(2)
        length, wanted = self._word(4), self._word(7)
        items, kind = f.parameters[4], f"i{self.bits}"
        last = f.offset(items, f.sub(wanted, 1), self.item)
        with f.loop(f.parameters[2], f.parameters[3]) as tiles:
            line = f.offset(source, f.mul(tiles.index, length), kind)
            with f.loop(0, wanted) as ranks:
                f.store(constant(self.item, -1), f.offset(items, ranks.index, self.item))

            def step(at: Value, mask: Value | None) -> None:
                place = f.offset(line, at, kind)
                type = f"<{LANES} x {kind}>"
                keys = self._ordered(f.load(place, type) if mask is None else f.masked_load(place, mask, type))
                worst = f.cast("trunc", f.binary("lshr", f.load(last, self.item), _item_bits(self.of) - self.bits), kind)
                better = f.compare("ule", keys, f.splat(worst, LANES))
                better = better if mask is None else f.binary("and", better, mask)
                lanes = f.cast("bitcast", better, f"i{LANES}")
                with f.when(f.compare("ne", lanes, 0)), f.repeat([lanes]) as bits:
                    rest = bits.carried[0]
                    lane = f.cast("zext", f.intrinsic("cttz", rest, constant("i1", 1)), "i64")
                    key = f.value(f"extractelement {keys.type} {keys.text}, i64 {lane.text}", kind)
                    self._admit(items, wanted, self._packed(key, f.add(at, lane)))
                    following = f.binary("and", rest, f.sub(rest, 1))
                    bits.again(f.compare("ne", following, 0), following)

            whole = f.binary("and", length, i64(-LANES))
            with f.loop(0, whole, LANES) as vectors:
                step(vectors.index, None)
            with f.when(f.compare("slt", whole, length)):
                step(whole, f.lane_mask(f.sub(length, whole), LANES))
            result = f.offset(target, f.mul(tiles.index, wanted), "i64")
            with f.loop(0, wanted) as ranks:
                self._store_position(f.offset(items, ranks.index, self.item), f.offset(result, ranks.index, "i64"))
        f.ret()

    def _admit(self, items: Value, count: Value, item: Value) -> None:
        """Put an item in its place of the list; the last one leaves."""
        f = self.f
        end = f.offset(items, f.sub(count, 1), self.item)
        with f.when(f.compare("ult", item, f.load(end, self.item))):
            f.store(item, end)
            self._sink(items, f.sub(count, 1), item)

    def _sink(self, items: Value, start: Value, item: Value) -> None:
        """Move ``item``, which lies at ``start``, before those that are larger."""
        f = self.f
        with f.when(f.compare("sgt", start, 0)), f.repeat([start]) as moves:
            at = moves.carried[0]
            left = f.sub(at, 1)
            before = f.load(f.offset(items, left, self.item), self.item)
            larger = f.compare("ugt", before, item)
            f.store(f.select(larger, before, item), f.offset(items, at, self.item))
            f.store(f.select(larger, item, before), f.offset(items, left, self.item))
            moves.again(f.binary("and", larger, f.compare("sgt", left, 0)), left)

    def _store_position(self, place: Value, result: Value) -> None:
        f = self.f
        item = f.load(place, self.item)
        f.store(f.binary("and", f.cast("trunc", item, "i64"), (1 << 32) - 1), result)

    # -- keys ------------------------------------------------------------------------------------------------------

    def _key(self, position: Value) -> Value:
        """The key of the element at a position of the line."""
        type = f"i{self.bits}"
        return self._ordered(self.f.load(self.f.offset(self.line, self.f.mul(position, self.inner), type), type))

    def _ordered(self, key: Value) -> Value:
        """The keys of elements given by their bits: unsigned, in the order of the elements."""
        f, bits, type = self.f, self.bits, key.type
        sign = 1 << (bits - 1)
        only_sign = constant(type, -sign)
        if self.of.is_floating_point:
            infinity = ((1 << (bits - 1 - _MANTISSAS[self.of])) - 1) << _MANTISSAS[self.of]
            size = f.binary("and", key, sign - 1)
            key = f.select(f.compare("eq", size, 0), size, key)  # -0 is 0
            flipped = f.binary("or", f.binary("ashr", key, bits - 1), only_sign)
            key = f.select(f.compare("ugt", size, infinity), constant(type, -1), f.binary("xor", key, flipped))
        elif self.of.is_signed and self.of is not dt.bool:
            key = f.binary("xor", key, only_sign)
        return f.binary("xor", key, -1) if self.descending else key

    def _item(self, position: Value) -> tuple[Value, Value]:
        key = self._key(position)
        return self._packed(key, self.f.add(self.first, position)), key

    def _packed(self, key: Value, position: Value) -> Value:
        f = self.f
        wide = f.binary("shl", f.cast("zext", key, self.item), constant(self.item, _item_bits(self.of) - self.bits))
        return f.binary("or", wide, f.cast("zext", position, self.item))

    def _byte(self, item: Value, number: int) -> Value:
        """Byte ``number`` of an item's key, from the lowest."""
        f = self.f
        shift = _item_bits(self.of) - self.bits + 8 * number
        return f.cast("zext", f.cast("trunc", f.binary("lshr", item, shift), "i8"), "i64")

    # -- which items there are -------------------------------------------------------------------------------------

    def _collect(self) -> tuple[Value, Value]:
        """Make the items that can have one of the wanted ranks; gives their number, and the rank of the first wanted one among them."""
        f = self.f
        if not self.partly:
            with f.loop(0, self.length) as positions:
                f.store(self._item(positions.index)[0], f.offset(self.items, positions.index, self.item))
            return self.length, self.low
        top = min(16, self.bits) if self.bits > 8 else 8
        wide = f.compare("sgt", self.length, 1 << 14)  # whether it pays to look at two bytes
        size = f.select(wide, i64(1 << top), i64(256))
        shift = f.select(wide, i64(self.bits - top), i64(self.bits - 8))
        histogram = self.counts
        f.fill(histogram, f.mul(size, i64(4)))

        def bucket(key: Value) -> Value:
            return f.cast("zext", f.binary("lshr", key, f.cast("trunc", shift, key.type) if self.bits < 64 else shift), "i64")

        with f.loop(0, self.length) as positions:
            place = f.offset(histogram, bucket(self._key(positions.index)), "i32")
            f.store(f.add(f.load(place, "i32"), 1), place)
        # The first and the last bucket with a wanted rank, and how many items lie before the first.
        with f.loop(0, size, 1, [i64(0), i64(-1), i64(0), i64(0)]) as buckets:
            before, begin, skipped, end = buckets.carried
            after = f.add(before, f.cast("zext", f.load(f.offset(histogram, buckets.index, "i32"), "i32"), "i64"))
            found = f.binary("and", f.compare("slt", begin, 0), f.compare("slt", self.low, after))
            begin = f.select(found, buckets.index, begin)
            skipped = f.select(found, before, skipped)
            end = f.select(f.compare("slt", before, self.high), buckets.index, end)
            buckets.carry(after, begin, skipped, end)
        _, begin, skipped, end = buckets.carried
        span = f.sub(end, begin)
        with f.loop(0, self.length, 1, [i64(0)]) as positions:
            item, key = self._item(positions.index)
            f.store(item, f.offset(self.items, positions.carried[0], self.item))
            kept = f.compare("ule", f.sub(bucket(key), begin), span)
            positions.carry(f.add(positions.carried[0], f.cast("zext", kept, "i64")))
        return positions.carried[0], f.sub(self.low, skipped)

    # -- ranks -----------------------------------------------------------------------------------------------------

    def _count_smaller(self, result: Value) -> None:
        """Of a short line: an element's rank is how many lie before it. Each is compared with all, a vector of them at once."""
        f, type = self.f, f"<{LANES} x i64>"
        keys, ranks = self.counts, f.offset(self.counts, COUNTED + LANES, "i64")  # there is room for more than both
        f.store(constant(type, -1), f.offset(keys, f.binary("and", self.length, -LANES), "i64"))  # what lies behind the line comes last
        packed = self.item == "i64"
        with f.loop(0, self.length) as positions:
            key = self._item(positions.index)[0] if packed else self._key(positions.index)
            f.store(key, f.offset(keys, positions.index, "i64"))
        with f.loop(0, self.length, LANES) as vectors:
            mine = f.load(f.offset(keys, vectors.index, "i64"), type)
            places = f.add(f.splat(vectors.index, LANES), constant_vector("i64", range(LANES)))
            with f.loop(0, self.length, 1, [constant(type, 0)]) as others:
                other = f.splat(f.load(f.offset(keys, others.index, "i64"), "i64"), LANES)
                before = f.compare("ult", other, mine)
                if not packed:  # equal keys are ranked by their positions, which are no part of them
                    earlier = f.compare("ult", f.splat(others.index, LANES), places)
                    before = f.binary("or", before, f.binary("and", f.compare("eq", other, mine), earlier))
                others.carry(f.sub(others.carried[0], f.cast("sext", before, type)))
            f.store(others.carried[0], f.offset(ranks, vectors.index, "i64"))
        wanted = f.sub(self.high, self.low)
        with f.loop(0, self.length) as positions:
            rank = f.sub(f.load(f.offset(ranks, positions.index, "i64"), "i64"), self.low)
            with f.when(f.compare("ult", rank, wanted)):
                f.store(positions.index, f.offset(result, f.mul(rank, self.inner), "i64"))

    # -- sorting ---------------------------------------------------------------------------------------------------

    def _insert(self, count: Value) -> None:
        """Each item is moved before those that are larger; items differ, since their positions do."""
        f = self.f
        with f.loop(1, count) as items:
            item = f.load(f.offset(self.items, items.index, self.item), self.item)
            self._sink(self.items, items.index, item)

    def _radix(self, count: Value) -> Value:
        """Sort by one byte of the key after the other; gives where the items are then."""
        f, size = self.f, self.of.itemsize
        f.fill(self.counts, i64(8 * 256 * size))
        with f.loop(0, count) as items:
            item = f.load(f.offset(self.items, items.index, self.item), self.item)
            for number in range(size):
                place = self._count(number, self._byte(item, number))
                f.store(f.add(f.load(place, "i64"), 1), place)
        here, there = self.f.alloca("ptr"), self.f.alloca("ptr")
        f.store(self.items, here)
        f.store(self.other, there)
        for number in range(size):
            current = f.load(here, "ptr")
            common = f.load(self._count(number, self._byte(f.load(current, self.item), number)), "i64")
            with f.when(f.compare("ne", common, count)):
                with f.loop(0, 256, 1, [i64(0)]) as values:
                    place = self._count(number, values.index)
                    many = f.load(place, "i64")
                    f.store(values.carried[0], place)
                    values.carry(f.add(values.carried[0], many))
                following = f.load(there, "ptr")
                with f.loop(0, count) as items:
                    item = f.load(f.offset(current, items.index, self.item), self.item)
                    place = self._count(number, self._byte(item, number))
                    at = f.load(place, "i64")
                    f.store(f.add(at, 1), place)
                    f.store(item, f.offset(following, at, self.item))
                f.store(following, here)
                f.store(current, there)
        return f.load(here, "ptr")

    def _count(self, number: int, byte: Value) -> Value:
        return self.f.offset(self.counts, self.f.add(byte, 256 * number), "i64")

    def _write(self, items: Value, first: Value, result: Value) -> None:
        f = self.f
        with f.loop(0, f.sub(self.high, self.low)) as ranks:
            place = f.offset(items, f.add(first, ranks.index), self.item)
            self._store_position(place, f.offset(result, f.mul(ranks.index, self.inner), "i64"))
