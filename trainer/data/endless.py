"""Whether a tf.data.Dataset of unknown length can end at all.

Responsible for finding, without reading anything, a source that yields elements forever: an
infinite data set, or a Python generator whose code never returns. Not for those that can be
told from finite ones only by reading them: `streams` limits how long it looks for their end.
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any

# instructions after which the next one does not follow
_JUMPS = ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "RERAISE")
_ENDS = ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS")


def is_endless(dataset: Any) -> bool:
    """Return whether a tf.data.Dataset certainly has no end."""
    import tensorflow as tf

    cardinality = int(dataset.cardinality())
    if cardinality != tf.data.UNKNOWN_CARDINALITY:
        return bool(cardinality == tf.data.INFINITE_CARDINALITY)
    kind = type(dataset).__name__
    if "Take" in kind or "Interleave" in kind:
        return False
    if any(never_returns(code) for code in _generators(dataset)):
        return True
    found = [is_endless(part) for part in dataset._inputs()]
    return bool(found) and (all(found) if "Zip" in kind else any(found))


def _generators(dataset: Any) -> Iterator[CodeType]:
    """Yield the code of the generator that Dataset.from_generator was called with."""
    made_by = getattr(getattr(dataset, "_map_func", None), "_func", None)
    for function in [made_by, *_closed_over(made_by)]:
        for state in _closed_over(function):
            if type(state).__name__ != "_GeneratorState":
                continue
            source = state._generator
            while isinstance(source, functools.partial):
                source = source.func
            for candidate in (source, getattr(source, "__call__", None)):  # noqa: B004
                if inspect.isgeneratorfunction(candidate):
                    yield candidate.__code__
                    break


def _closed_over(function: Any) -> list[Any]:
    cells = getattr(function, "__closure__", None) or ()
    return [cell.cell_contents for cell in cells]


def never_returns(code: CodeType) -> bool:
    """Return whether no way through the code of a function leads to a return or a raise.

    Every condition counts as if it could turn out either way, and every line as if it could
    raise; so a loop that a condition may end is not endless.
    """
    instructions = list(dis.get_instructions(code))
    place = {instruction.offset: i for i, instruction in enumerate(instructions)}
    bytecode: Any = dis.Bytecode(code)
    handlers = [entry.target for entry in bytecode.exception_entries]
    ahead = [0, *(place[target] for target in handlers)]
    seen: set[int] = set()
    while ahead:
        at = ahead.pop()
        if at in seen or at >= len(instructions):
            continue
        seen.add(at)
        instruction = instructions[at]
        if instruction.opname in _ENDS:
            return False
        if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            ahead.append(place[instruction.argval])
        if instruction.opname not in _JUMPS:
            ahead.append(at + 1)
    return True
