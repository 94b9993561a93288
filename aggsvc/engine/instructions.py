"""What Python cannot say and a processor can: the instructions of machine.py, for numba.

All take positions within an array on trust. An array of bytes must go on for WINDOW bytes behind
any that is asked for.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

WINDOW = 64
NL, CR, QUOTE = 10, 13, 34

instruction: Any = intrinsic  # of which callers need not know what numba passes first

_I64 = ir.IntType(64)
_BYTES = ir.VectorType(ir.IntType(8), WINDOW)


def _address(context, builder, array_type, array, index):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@instruction
def byte_at(typingctx, data, index):
    """The byte at index, as an int64; unlike data[index], a negative index is not looked for."""

    def codegen(context, builder, signature, args):
        byte = builder.load(_address(context, builder, signature.args[0], *args))
        return builder.zext(byte, _I64)

    return types.int64(data, types.int64), codegen


@instruction
def get(typingctx, array, index):
    """The number at index, in an array of any dimensions as if it had one."""

    def codegen(context, builder, signature, args):
        return builder.load(_address(context, builder, signature.args[0], *args))

    return array.dtype(array, types.int64), codegen


@instruction
def put(typingctx, array, index, number):
    """Store the number at index, in an array of any dimensions as if it had one."""

    def codegen(context, builder, signature, args):
        array, index, number = args
        builder.store(number, _address(context, builder, signature.args[0], array, index))
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), codegen


@instruction
def load64(typingctx, data, index):
    """The 8 bytes at index, little-endian, however they are aligned."""

    def codegen(context, builder, signature, args):
        place = _address(context, builder, signature.args[0], *args)
        word = builder.load(builder.bitcast(place, _I64.as_pointer()))
        word.align = 1
        return word

    return types.uint64(data, types.int64), codegen


@instruction
def window(typingctx, data, index, delimiter):
    """Marks bytes of the WINDOW at index, bit i for byte i.

    Four masks: delimiters, line ends (LF or CR), quotes, and NUL or not ASCII.
    """

    def codegen(context, builder, signature, args):
        array, index, delimiter = args
        place = _address(context, builder, signature.args[0], array, index)
        found = builder.load(builder.bitcast(place, _BYTES.as_pointer()))
        found.align = 1

        def splat(byte):
            one = builder.insert_element(
                ir.Constant(_BYTES, ir.Undefined), byte, ir.Constant(ir.IntType(32), 0)
            )
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), WINDOW), [0] * WINDOW)
            return builder.shuffle_vector(one, ir.Constant(_BYTES, ir.Undefined), zeros)

        def constant(byte):
            return ir.Constant(_BYTES, [byte] * WINDOW)

        def equal(byte):
            return builder.icmp_unsigned("==", found, byte)

        masks = [
            equal(splat(builder.trunc(delimiter, ir.IntType(8)))),
            builder.or_(equal(constant(NL)), equal(constant(CR))),
            equal(constant(QUOTE)),
            builder.icmp_signed("<", found, constant(1)),
        ]
        words = [builder.bitcast(mask, _I64) for mask in masks]
        return context.make_tuple(builder, signature.return_type, words)

    return types.UniTuple(types.uint64, 4)(data, types.int64, types.int64), codegen


@instruction
def trailing_zeros(typingctx, word):
    """How many zero bits there are below the lowest set one, of which there must be one."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@instruction
def leading_zeros(typingctx, word):
    """How many zero bits there are above the highest set one, of which there must be one."""

    def codegen(context, builder, signature, args):
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@instruction
def high_product(typingctx, a, b):
    """The upper 64 bits of the product of two words."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), _I64)

    return types.uint64(types.uint64, types.uint64), codegen


@instruction
def add_three(typingctx, a0, a1, a2, b0, b1, b2):
    """The sum of two numbers of three words each, the lowest first, cut to three words."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(3 * 64)

        def joined(words):
            number = ir.Constant(wide, 0)
            for place, word in enumerate(words):
                word = builder.shl(builder.zext(word, wide), ir.Constant(wide, 64 * place))
                number = builder.or_(number, word)
            return number

        total = builder.add(joined(args[:3]), joined(args[3:]))
        words = [
            builder.trunc(builder.lshr(total, ir.Constant(wide, 64 * place)), _I64)
            for place in range(3)
        ]
        return context.make_tuple(builder, signature.return_type, words)

    word = types.uint64
    return types.UniTuple(word, 3)(word, word, word, word, word, word), codegen


@instruction
def add_words(typingctx, words, index, low, middle, high):
    """Add three words, the lowest first, to those at the index; returns the carry, 0 or 1."""

    def codegen(context, builder, signature, args):
        array, index, *parts = args
        wide = ir.IntType(3 * 64)
        place = _address(context, builder, signature.args[0], array, index)
        place = builder.bitcast(place, wide.as_pointer())
        old = builder.load(place)
        old.align = 8
        add = ir.Constant(wide, 0)
        for shift, part in enumerate(parts):
            part = builder.shl(builder.zext(part, wide), ir.Constant(wide, 64 * shift))
            add = builder.or_(add, part)
        both = builder.uadd_with_overflow(old, add)
        stored = builder.store(builder.extract_value(both, 0), place)
        stored.align = 8
        return builder.zext(builder.extract_value(both, 1), _I64)

    word = types.uint64
    return word(words, types.int64, word, word, word), codegen


@instruction
def prefetch(typingctx, words, index):
    """Have the cache line of the word at index fetched for reading."""

    def codegen(context, builder, signature, args):
        place = _address(context, builder, signature.args[0], *args)
        place = builder.bitcast(place, ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [place.type],
            ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag]),
        )
        builder.call(function, [place, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(words, types.int64), codegen


@instruction
def as_double(typingctx, word):
    """The double of these bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), codegen


@instruction
def bits_of(typingctx, number):
    """The bits of a double."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], _I64)

    return types.uint64(types.float64), codegen
