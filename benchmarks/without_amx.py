"""Runs a command as on a machine whose processor has no AMX, such as most in use.

python benchmarks/without_amx.py COMMAND [ARGUMENT...]

A process asks the kernel before it uses AMX (https://docs.kernel.org/arch/x86/xstate.html), and ONNX Runtime does
without where it may not. Here a seccomp filter answers for the kernel, for the command and all its children. It changes
nothing else, and takes effect on Linux and x86-64 only.
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
    """Let this process, and those it starts, have no permission to use AMX.

    Raises:
        OSError: the kernel takes no filter.
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
    """Become the command."""
    if command[:1] in (["-h"], ["--help"]):
        print((__doc__ or "").strip())
        return
    if not command:
        sys.exit("without_amx: give a command; --help says more")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("without_amx: there is no AMX but on x86-64, and only Linux asks for it")
    try:
        refuse_amx()
        os.execvp(command[0], command)
    except OSError as exc:
        sys.exit(f"without_amx: {command[0]}: {exc.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
