"""What Python cannot say and a processor can: a few instructions for compiled functions.

All take positions within an array of bytes on trust; the array must go on for WINDOW bytes behind
any position that is asked for.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from aggsvc.engine.jit import inlined

WINDOW = 64
U = np.uint64
ONES = U(0x0101010101010101)
HIGHS = U(0x8080808080808080)
NL, CR, QUOTE = 10, 13, 34

_I64 = ir.IntType(64)
_BYTES = ir.VectorType(ir.IntType(8), WINDOW)


def _address(context, builder, array_type, array, index):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@intrinsic
def byte_at(typingctx, data, index):
    """The byte at index, as an int64; unlike data[index], a negative index is not looked for."""

    def codegen(context, builder, signature, args):
        byte = builder.load(_address(context, builder, signature.args[0], *args))
        return builder.zext(byte, _I64)

    return types.int64(data, types.int64), codegen


@intrinsic
def load64(typingctx, data, index):
    """The 8 bytes at index, little-endian, however they are aligned."""

    def codegen(context, builder, signature, args):
        place = _address(context, builder, signature.args[0], *args)
        word = builder.load(builder.bitcast(place, _I64.as_pointer()))
        word.align = 1
        return word

    return types.uint64(data, types.int64), codegen


@intrinsic
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


@intrinsic
def trailing_zeros(typingctx, word):
    """How many zero bits there are below the lowest set one, of which there must be one."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@intrinsic
def leading_zeros(typingctx, word):
    """How many zero bits there are above the highest set one, of which there must be one."""

    def codegen(context, builder, signature, args):
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@intrinsic
def high_product(typingctx, a, b):
    """The upper 64 bits of the product of two words."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), _I64)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
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


@intrinsic
def prefetch(typingctx, words, index):
    """Have the cache line of the word at index fetched for reading."""

    def codegen(context, builder, signature, args):
        place = _address(context, builder, signature.args[0], *args)
        place = builder.bitcast(place, ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [place.type], ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        )
        builder.call(function, [place, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(words, types.int64), codegen


@inlined
def zero_bytes(word):
    """Marks the lowest zero byte by its high bit (bytes above it may be marked too)."""
    return (word - ONES) & ~word & HIGHS


@inlined
def not_digits(word):
    """Marks, by high bits, whether any of 8 digits XOR "0" is none."""
    return ((word + (ONES * U(0x76))) | word) & HIGHS


@inlined
def prefix_xor(word):
    """Bit i of the result is the XOR of bits 0 to i: what lies between pairs of set bits."""
    word ^= word << U(1)
    word ^= word << U(2)
    word ^= word << U(4)
    word ^= word << U(8)
    word ^= word << U(16)
    word ^= word << U(32)
    return word
