"""Vectors of sixteen floats for numba kernels: one register where the processor has AVX-512, two or four elsewhere.

    v = load(array, offset); store(array, offset, v * v + spread(1.0))

Offsets count numbers from an array's first element and are not checked. `+`, `-`, `*`, `/` work element by element;
additions and products may be fused. Numbers in half precision lie in arrays of int8 and are addressed by bytes, for
numba knows no such floats; `wide_registers` says whether the processor is made for that.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, ClassVar

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.core.datamodel.models import PrimitiveModel
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

LANES = 16
_FLOATS, _INTS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
_HALVES, _BYTES = ir.VectorType(ir.HalfType(), LANES), ir.VectorType(ir.IntType(8), LANES)
_instruction: Any = intrinsic  # untyped in numba
_numba: Any = config
_FAST = ("nnan", "ninf", "nsz", "contract")


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


_VECTOR = _Vector()


@register_model(_Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _FLOATS)


@functools.cache
def wide_registers() -> bool:
    """Whether numba compiles, and for a processor with AVX-512: 32 registers of sixteen floats. With fewer, sums spill,
    and rounded weights take longer than BLAS with the weights themselves."""
    return not _numba.DISABLE_JIT and _knows("avx512f")


@functools.cache
def counts() -> bool:
    """Whether this processor has instructions that sum products of bytes in 32 bits."""
    return _knows("avx512vnni") or _knows("avxvnni")


def _knows(feature: str) -> bool:
    named = _numba.CPU_FEATURES  # of another processor, if numba was told to compile for one
    return bool(binding.get_host_cpu_features().get(feature)) if named is None else f"+{feature}" in named.split(",")


def _address(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, of: Any) -> Any:
    start = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(start, [offset]), of.as_pointer())


@_instruction
def load(typing_context: Any, array: Any, offset: Any) -> Any:
    """Sixteen floats of a float32 array from `offset` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, sig.args[0], args[0], args[1], _FLOATS), align=4)

    return _VECTOR(array, types.intp), generate


@_instruction
def store(typing_context: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write sixteen floats into a float32 array from `offset` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, sig.args[0], args[0], args[1], _FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _VECTOR), generate


@_instruction
def store_half(typing_context: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write sixteen floats in half precision into an int8 array from byte `offset` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _address(context, builder, sig.args[0], args[0], args[1], _HALVES)
        builder.store(builder.fptrunc(args[2], _HALVES), place, align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, _VECTOR), generate


@_instruction
def spread(typing_context: Any, value: Any) -> Any:
    """One number in every lane."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _spread(builder, args[0])

    return _VECTOR(types.float32), generate


def _total(builder: Any, whole: Any) -> Any:
    """The sum of a vector, by halves."""
    count = LANES
    while count > 1:
        count //= 2
        none, place = ir.Constant(whole.type, ir.Undefined), ir.VectorType(ir.IntType(32), count)
        first, second = (ir.Constant(place, list(range(start, start + count))) for start in (0, count))
        whole = builder.fadd(builder.shuffle_vector(whole, none, first), builder.shuffle_vector(whole, none, second))
    return builder.extract_element(whole, ir.Constant(ir.IntType(32), 0))


def _spread(builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


def multiplier(rows: int, vectors: int, *, half: bool) -> Callable[..., None]:
    """Make `multiply(matrix, at, step, ahead, x, x_at, x_step, y, y_at, y_step, width)`: y += x @ W, sums in registers.

    W (width, 16 * vectors) begins at byte `at` of an int8 array, in half precision or as whole numbers of a byte, its
    rows `step` bytes apart; memory is asked for what lies `ahead` bytes further, which may be past the end. x (rows,
    width), y (rows, .) float32, from `x_at` and `y_at` on, rows `x_step` and `y_step` apart.
    """
    kind, size = (_HALVES, 2) if half else (_BYTES, 1)

    @_instruction
    def multiply(
        typing: Any, matrix: Any, at: Any, step: Any, ahead: Any, x: Any, x_at: Any, x_step: Any, y: Any, y_at: Any,
        y_step: Any, width: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _, at, step, ahead, _, x_at, x_step, _, y_at, y_step, width = args
            places = [(row, vector) for row in range(rows) for vector in range(vectors)]
            sums = {place: cgutils.alloca_once(builder, _FLOATS) for place in places}

            def address(array: int, start: Any, times: int, distance: Any, kind: Any) -> Any:
                offset = builder.add(start, builder.mul(ir.Constant(at.type, times), distance))
                return _address(context, builder, sig.args[array], args[array], offset, kind)

            def result(row: int, vector: int) -> Any:
                start = builder.add(y_at, ir.Constant(at.type, LANES * vector))
                return address(7, start, row, y_step, _FLOATS)

            for place in places:
                builder.store(builder.load(result(*place), align=4), sums[place])
            with cgutils.for_range(builder, width) as loop:
                start = builder.add(at, builder.mul(loop.index, step))
                vector_bytes = ir.Constant(at.type, LANES * size)
                read = [builder.load(address(0, start, v, vector_bytes, kind), align=size) for v in range(vectors)]
                floats = [builder.fpext(part, _FLOATS) if half else builder.sitofp(part, _FLOATS) for part in read]
                _ask(builder, address(0, start, 1, ahead, ir.IntType(8)))
                for row in range(rows):
                    number = address(4, builder.add(x_at, loop.index), row, x_step, ir.FloatType())
                    value = _spread(builder, builder.load(number))
                    for vector in range(vectors):
                        product = builder.fmul(value, floats[vector], flags=_FAST)
                        old = builder.load(sums[row, vector])
                        builder.store(builder.fadd(old, product, flags=_FAST), sums[row, vector])
            for place in places:
                builder.store(builder.load(sums[place]), result(*place), align=4)
            return context.get_dummy_value()

        place = types.intp
        return types.void(matrix, place, place, place, x, place, place, y, place, place, place), generate

    return multiply


def comparer(rows: int) -> Callable[..., None]:
    """Make `compare(vector, at, x, x_at, x_step, y, y_at, y_step, width)`: products of rows of x with one vector.

    The vector begins at byte `at` of an int8 array, in half precision; x (rows, width) as for `multiplier`; row i's
    answer goes to y[y_at + i * y_step]. width is a multiple of 16.
    """

    @_instruction
    def compare(
        typing: Any, vector: Any, at: Any, x: Any, x_at: Any, x_step: Any, y: Any, y_at: Any, y_step: Any, width: Any
    ) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _, at, _, x_at, x_step, _, y_at, y_step, width = args
            sums = [cgutils.alloca_once_value(builder, ir.Constant(_FLOATS, [0.0] * LANES)) for _ in range(rows)]

            def address(array: int, start: Any, row: int, distance: Any, kind: Any) -> Any:
                offset = builder.add(start, builder.mul(ir.Constant(at.type, row), distance))
                return _address(context, builder, sig.args[array], args[array], offset, kind)

            with cgutils.for_range(builder, builder.sdiv(width, ir.Constant(at.type, LANES))) as loop:
                done = builder.mul(loop.index, ir.Constant(at.type, LANES))
                half = address(0, builder.add(at, done), 1, done, _HALVES)  # two bytes each
                floats = builder.fpext(builder.load(half, align=2), _FLOATS)
                for row in range(rows):
                    given = builder.load(address(2, builder.add(x_at, done), row, x_step, _FLOATS), align=4)
                    product = builder.fmul(given, floats, flags=_FAST)
                    builder.store(builder.fadd(builder.load(sums[row]), product, flags=_FAST), sums[row])
            for row in range(rows):
                answer = address(5, y_at, row, y_step, ir.FloatType())
                builder.store(_total(builder, builder.load(sums[row])), answer)
            return context.get_dummy_value()

        place = types.intp
        return types.void(vector, place, x, place, place, y, place, place, place), generate

    return compare


def _ask(builder: Any, address: Any) -> None:
    """Ask memory for a line, for the second level of the cache."""
    byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
    ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, level, data = ir.Constant(whole, 0), ir.Constant(whole, 2), ir.Constant(whole, 1)
    builder.call(ask, [address, read, level, data])


def _constant(value: float) -> Any:
    return ir.Constant(_FLOATS, [float(value)] * LANES)


@_instruction
def swish(typing_context: Any, vector: Any) -> Any:
    """x / (1 + exp(-x)) to a few units in the last place: exp by powers of two and a polynomial of degree 6."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x = args[0]

        def add(a: Any, b: Any) -> Any:
            return builder.fadd(a, b, flags=("contract",))

        def mul(a: Any, b: Any) -> Any:
            return builder.fmul(a, b, flags=("contract",))

        # exp(-x) = 2^y; beyond +-120 the quotient is x or 0 either way
        y = mul(x, _constant(-1.4426950408889634))
        for predicate, limit in ((">", 120.0), ("<", -120.0)):
            y = builder.select(builder.fcmp_ordered(predicate, y, _constant(limit)), _constant(limit), y)
        shifted = builder.fadd(y, _constant(12582912.0))  # 1.5 * 2^23: the low bits are the nearest integer
        fraction = builder.fsub(y, builder.fsub(shifted, _constant(12582912.0)))
        power = _constant(1.5403530393381608e-4)
        for factor in (1.3333558146428443e-3, 9.618129107628477e-3, 0.05550410866482158, 0.2402265069591007):
            power = add(mul(power, fraction), _constant(factor))
        power = add(mul(power, fraction), _constant(0.6931471805599453))
        power = add(mul(power, fraction), _constant(1.0))
        whole = builder.shl(builder.bitcast(shifted, _INTS), ir.Constant(_INTS, [23] * LANES))
        exponential = builder.bitcast(builder.add(builder.bitcast(power, _INTS), whole), _FLOATS)
        return builder.fdiv(x, builder.fadd(exponential, _constant(1.0)))

    return _VECTOR(_VECTOR), generate


def _operator(symbol: Any, instruction: str) -> None:
    class Typing(ConcreteTemplate):
        cases: ClassVar = [signature(_VECTOR, _VECTOR, _VECTOR)]

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=_FAST)

    infer_global(symbol)(Typing)
    lower_builtin(symbol, _VECTOR, _VECTOR)(generate)


for _symbol, _operation in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_symbol, _operation)
