"""Vectors of sixteen floats for numba kernels: one register where the processor has AVX-512, two or four elsewhere.

    v = load(array, offset); store(array, offset, v * v + spread(1.0))

Offsets count numbers from an array's first element and are not checked. `+`, `-`, `*`, `/` work element by element;
additions and products may be fused.
"""

import operator
from typing import Any, ClassVar

from llvmlite import ir
from numba.core import types
from numba.core.datamodel.models import PrimitiveModel
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

LANES = 16
_FLOATS, _INTS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
_instruction: Any = intrinsic  # untyped in numba
_FAST = ("nnan", "ninf", "nsz", "contract")


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


_VECTOR = _Vector()


@register_model(_Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _FLOATS)


def _address(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    start = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(start, [offset]), _FLOATS.as_pointer())


@_instruction
def load(typing_context: Any, array: Any, offset: Any) -> Any:
    """Sixteen floats of a float32 array from `offset` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, sig.args[0], args[0], args[1]), align=4)

    return _VECTOR(array, types.intp), generate


@_instruction
def store(typing_context: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write sixteen floats into a float32 array from `offset` on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, sig.args[0], args[0], args[1]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _VECTOR), generate


@_instruction
def spread(typing_context: Any, value: Any) -> Any:
    """One number in every lane."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _spread(builder, args[0])

    return _VECTOR(types.float32), generate


def _spread(builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


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
