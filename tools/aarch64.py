"""Builds cmp for aarch64 and tests it on an emulated machine of that kind.

    python tools/aarch64.py [arguments for pytest]

The folder build/aarch64, or AARCH64_FOLDER, is filled once with packages of Debian 12, unpacked only: nothing of them
runs here. Each run compiles the C tests and the extension with aarch64-linux-gnu-gcc, packs the folder as the initial
file system of Debian's kernel, and boots that with qemu; the first process there runs the C tests, the walks of the
kill points, and pytest. A processor in software is some ten times slower, and orders memory as the one below it does,
so what this shows is that the code is right for the other sizes, calls and conventions, not for weaker ordering.
Where a tool is missing it says so and leaves it at that.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import debian
import pythons

FOLDER = Path(os.environ.get("AARCH64_FOLDER") or pythons.ROOT / "build" / "aarch64").resolve()
RELEASE, PYTHON = "bookworm", "python3.11"
PACKAGES = [
    *("linux-image-arm64", "procps"),
    *("python3", PYTHON, f"lib{PYTHON}-dev", f"lib{PYTHON}-testsuite"),
]
COMPILER, MACHINE = "aarch64-linux-gnu-gcc", "qemu-system-aarch64"
TOOLS = (COMPILER, MACHINE, "dpkg-deb", "cpio", "make")
LIMIT_S = 3 * 3600
FLAGS = "-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -fPIC -fvisibility=hidden -pthread -Isrc/cmp"
OPTIONS = "-M virt -cpu cortex-a72 -smp 2 -accel tcg,thread=multi -m 6144 -nic none -nographic -no-reboot"
KERNEL_OPTIONS = "console=ttyAMA0 quiet panic=-1 rdinit=/first"
TREE = "srv/tree"
# The first process: nothing has been set up for it. What it prints last is what came of it.
FIRST = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
for each in proc:/proc sysfs:/sys devtmpfs:/dev; do mount -t ${{each%:*}} none ${{each#*:}}; done
mkdir -p /dev/shm /dev/pts && mount -t tmpfs none /dev/shm && mount -t devpts none /dev/pts && mount -t tmpfs none /tmp
chmod 1777 /tmp && ln -s /proc/self/fd /dev/fd
cd /{tree} && {python} -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 1))'  # SIOCSIFFLAGS: the loopback is up
failed=0
for each in build/test-c/*/test_* build/test-c/*/crash_*; do
    [ -x $each ] && [ -f $each ] && {{ CMP_TEST_TIMEOUT=900 $each || failed=1; }}
done
{python} -m pytest -q --color=no -p no:cacheprovider --timeout 300 {arguments} || failed=1
echo "aarch64: $([ $failed = 0 ] && echo passed || echo FAILED)"
echo o > /proc/sysrq-trigger; sleep 60
"""


def furnish() -> str | None:
    """Fills the folder, once; why that did not succeed."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() or missing:
        return f"this needs root and {', '.join(TOOLS)}"
    reason = debian.furnish(FOLDER, RELEASE, PACKAGES, "--foreign", "--arch=arm64")
    if reason is not None:
        return reason
    target = FOLDER / "usr/local/lib" / PYTHON / "dist-packages"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--upgrade", "--target", target]
    if not target.exists() and subprocess.run([*pip, "pytest", "pytest-timeout"]).returncode:
        return "pytest is not to be had"
    for package in (FOLDER / "var/cache/apt/archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, FOLDER], check=True)
        package.unlink()
    (FOLDER / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (FOLDER / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (FOLDER / "etc/hosts").write_text("127.0.0.1 localhost\n")
    return None


def build(tree: Path) -> None:
    """The C tests and the extension, in the copy of the tree that the machine gets."""
    for variant in ("plain", "faults"):
        make = ["make", "-s", "-C", "tests/c", f"CC={COMPILER}", f"VARIANT={variant}", "build"]
        subprocess.run(make, cwd=tree, check=True)
    headers = [f"usr/include/{PYTHON}", f"usr/include/aarch64-linux-gnu/{PYTHON}", "usr/include"]
    sources = sorted(path.relative_to(tree) for path in tree.glob("src/cmp/*/*.c"))
    target = f"cmp/_core.{PYTHON.replace('python3.', 'cpython-3')}-aarch64-linux-gnu.so"
    search = [option for header in headers for option in ("-idirafter", FOLDER / header)]
    command = [COMPILER, *FLAGS.split(), "-shared", *search, *sources, "-o", target]
    subprocess.run(command, cwd=tree, check=True)


def boot(arguments: list[str]) -> bool:
    """Runs everything on the machine; is all well?"""
    first = FOLDER / "first"
    first.write_text(FIRST.format(tree=TREE, python=PYTHON, arguments=shlex.join(arguments)))
    first.chmod(0o755)
    image = FOLDER.with_suffix(".cpio")
    with open(image, "wb") as packed:
        files = subprocess.run(["find", "."], cwd=FOLDER, check=True, capture_output=True)
        command = ["cpio", "--quiet", "-o", "-H", "newc"]
        subprocess.run(command, cwd=FOLDER, input=files.stdout, stdout=packed, check=True)
    kernel = max((FOLDER / "boot").glob("vmlinuz-*"))
    machine = ["timeout", str(LIMIT_S), MACHINE, *OPTIONS.split(), "-kernel", kernel, "-initrd", image]
    machine += ["-append", KERNEL_OPTIONS]
    passed = False
    with subprocess.Popen(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, errors="replace") as running:
        for line in running.stdout:
            print(line, end="", flush=True)
            passed |= line.startswith("aarch64: passed")
    image.unlink()
    return passed


def main(arguments: list[str]) -> int:
    reason = furnish()
    if reason is not None:
        print(f"aarch64: left out, {reason}")
        return 0
    tree = FOLDER / TREE
    pythons.copy_tree(tree)
    build(tree)
    return 0 if boot(arguments) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
