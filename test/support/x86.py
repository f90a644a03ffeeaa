"""Running kernels for x86-64 CPUs with more instructions than this one has.

accept() makes an artifact one that the runtime opens here; a process that runs it has libemulate_x86.so preloaded
(preload(), environment()), which executes what this CPU cannot: see x86/emulate.c. Only where can_emulate().
"""
import os
import platform
import struct
import sys

from nnopt import BUILD

# NNOPT_CPU_* of runtime/format.h that are emulated.
AVX512_VNNI, AVX512_BF16, AVX_VNNI, AMX, AVX512_VBMI = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 9
EMULATED = AVX512_VNNI | AVX512_BF16 | AVX_VNNI | AMX | AVX512_VBMI

# nnopt_trailer: elf_size, elf_checksum, weights_offset, weights_size, file_size, format_version, cpu_features,
# encoded_size, magic. No checksum covers it.
_TRAILER = struct.Struct("<5Q2IQ8s")
_FEATURES_AT = 44
_VERSIONS_AT = 40 # of `versions` in nnopt_descriptor

_SECTION = struct.Struct("<2I4Q2I2Q") # name, type, flags, address, offset, size, link, info, alignment, entry size
_SYMBOL = struct.Struct("<I2BH2Q") # name, info, other, section, value, size
_RELOCATION = struct.Struct("<2Qq") # address, info, addend
_RELA, _DYNSYM = 4, 11


def can_emulate():
    """Whether this machine has what the emulator itself needs: x86-64 with AVX-512 F, BW, CD, DQ and VL."""
    if platform.machine() != "x86_64":
        return False
    with open("/proc/cpuinfo") as info:
        flags = next((line.split() for line in info if line.startswith("flags")), [])
    return {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= set(flags)


def emulator():
    """The library to preload."""
    return os.path.join(BUILD, "lib", "libemulate_x86.so")


def environment():
    """Variables for a process that runs emulated instructions."""
    return dict(os.environ, LD_PRELOAD=" ".join([emulator(), os.environ.get("LD_PRELOAD", "")]).strip())


def accept(path):
    """Takes the features that are emulated out of those that the artifact `path` demands, in the file itself.
    Returns them (bits of NNOPT_CPU_*). Artifacts with several programs are refused: each demands its own."""
    with open(path, "r+b") as file:
        data = file.read()
        trailer = _TRAILER.unpack(data[-_TRAILER.size:]) if len(data) >= _TRAILER.size else None
        if not trailer or trailer[-1] != b"NNOPTEND":
            raise ValueError(f"{path}: not an artifact of nnopt")
        if _has_versions(path, data[:trailer[0]]):
            raise ValueError(f"{path}: has several programs (--target or --dim with a list), which choose by the CPU")
        features = trailer[6]
        file.seek(len(data) - _TRAILER.size + _FEATURES_AT)
        file.write(struct.pack("<I", features & ~EMULATED))
    return features & EMULATED


def _has_versions(path, elf):
    """Whether `versions` of the descriptor is not NULL: a relocation puts a pointer there."""
    first, = struct.unpack_from("<Q", elf, 40) # e_shoff
    size, count = struct.unpack_from("<2H", elf, 58) # e_shentsize, e_shnum
    sections = [_SECTION.unpack_from(elf, first + i * size) for i in range(count)]

    def contents(section):
        return elf[section[4]:section[4] + section[5]]

    for symbols in sections:
        if symbols[1] != _DYNSYM:
            continue
        names = contents(sections[symbols[6]])
        for name, _, _, _, address, _ in _SYMBOL.iter_unpack(contents(symbols)):
            if names[name:names.index(b"\0", name)] == b"nnopt_descriptor":
                return any(place == address + _VERSIONS_AT for table in sections if table[1] == _RELA
                           for place, _, _ in _RELOCATION.iter_unpack(contents(table)))
    raise ValueError(f"{path}: has no symbol nnopt_descriptor")


def preload():
    """Starts this script again with the emulator in the process, where it can be used and is not there yet. Returns whether it is."""
    if not can_emulate() or not os.path.exists(emulator()):
        return False
    if emulator() not in os.environ.get("LD_PRELOAD", ""):
        os.execve(sys.executable, [sys.executable, *sys.argv], environment())
    return True
