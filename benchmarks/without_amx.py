"""Runs a command without AMX, as on most processors in use.

python benchmarks/without_amx.py COMMAND [ARGUMENT...]

AMX is the matrix unit of newer Intel Xeon processors. A process must ask the kernel before it uses AMX
(https://docs.kernel.org/arch/x86/xstate.html). If the kernel refuses, ONNX Runtime does not use AMX. This program sets
a seccomp filter that refuses the request of the command and of all its children. It changes nothing else, and works
only on Linux and x86-64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM = 158, 0x1023
_SYSCALL_AT, _FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _instruction(code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """`struct sock_filter`."""
    return struct.pack("HBBI", code, if_true, if_false, operand)


def refuse_amx() -> None:
    """Refuse AMX to this process and to all processes that it starts.

    Raises:
        OSError: The kernel does not accept the filter.
    """
    instructions = [
        _instruction(_LOAD, _SYSCALL_AT),
        _instruction(_IF_EQUAL, _ARCH_PRCTL, if_false=3),
        _instruction(_LOAD, _FIRST_ARGUMENT_AT),
        _instruction(_IF_EQUAL, _ARCH_REQ_XCOMP_PERM, if_false=1),
        _instruction(_RETURN, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = _Program(len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def main(command: list[str]) -> None:
    """Replace this process with the command."""
    if command[:1] in (["-h"], ["--help"]):
        print((__doc__ or "").strip())
        return
    if not command:
        sys.exit("without_amx: no command; usage: without_amx.py COMMAND [ARGUMENT...]")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("without_amx: AMX can be refused only on Linux and x86-64")
    try:
        refuse_amx()
        os.execvp(command[0], command)
    except OSError as exc:
        sys.exit(f"without_amx: {command[0]}: {exc.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
