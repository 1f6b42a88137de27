# SPDX-License-Identifier: Apache-2.0
"""Debian packages, fetched and unpacked into a cache without installing anything.

Nothing here needs root or touches the machine's own /boot and /lib/modules.
"""
import fcntl
import glob
import json
import os
import shutil
import subprocess
import tempfile

KERNELS = {"standard": "linux-image-amd64", "cloud": "linux-image-cloud-amd64"}


class PackageError(Exception):
    pass


def tell(_):
    """Replaced by who wants a person to hear of what takes time."""


def cache_dir(*below):
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = os.path.join(base, "segue", *below)
    os.makedirs(path, exist_ok=True)
    return path


def _output(*argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise PackageError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _remembered(function):
    """Keep FUNCTION's answers as long as apt's lists stay as they are: asking apt is slow."""
    def wrapper(package):
        path = os.path.join(cache_dir("answers"), f"{function.__name__}-{package.strip('<>')}")
        try:
            lists = os.stat("/var/lib/apt/lists").st_mtime_ns
            with open(path, encoding="ascii") as file:
                stamp, answer = json.load(file)
            if stamp == lists:
                return answer
        except (OSError, ValueError):
            pass
        tell(f"asking apt about {package}")
        answer = function(package)
        partial = f"{path}.{os.getpid()}"
        with open(partial, "w", encoding="ascii") as file:
            json.dump([os.stat("/var/lib/apt/lists").st_mtime_ns, answer], file)
        os.rename(partial, path)
        return answer
    return wrapper


@_remembered
def depends(package):
    """The packages PACKAGE itself depends on, the first of each set of alternatives."""
    found, alternative = [], False
    for line in _output("apt-cache", "depends", "--important", package).splitlines():
        kind, _, name = line.strip().partition(": ")
        first, alternative = not alternative, kind.startswith("|")
        if kind.lstrip("|") in ("Depends", "PreDepends") and name and first:
            found.append(name.strip())
    return found


@_remembered
def candidate(package):
    """The version of PACKAGE that apt would install; None for a virtual or unknown one."""
    for line in _output("apt-cache", "policy", package).splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "Candidate":
            return None if value == "(none)" else value
    return None


@_remembered
def provider(package):
    """PACKAGE itself, or for a virtual one a package that provides it."""
    name = package.strip("<>")
    if candidate(name):
        return name
    for line in _output("apt-cache", "showpkg", name).splitlines()[::-1]:
        if line.startswith("Reverse Provides"):
            break
        if line.strip():
            return line.split()[0]
    raise PackageError(f"no package gives {name}: run `apt-get update` (or tools/deps) first")


def closure(packages):
    """PACKAGES and all they need, recursively."""
    seen, todo = {}, list(packages)
    while todo:
        name = provider(todo.pop())
        if name not in seen:
            seen[name] = depends(name)
            todo.extend(seen[name])
    return sorted(seen)


def unpacked(package):
    """A directory with PACKAGE's files; fetched once and kept under its version."""
    version = candidate(package)
    if not version:
        raise PackageError(f"no such package: {package}; run `apt-get update` (or tools/deps)")
    keep = cache_dir("packages")
    target = os.path.join(keep, f"{package}_{version.replace(':', '%')}")
    with open(os.path.join(keep, ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(target):
            _fetch(package, keep, target)
    return target


def _fetch(package, keep, target):
    tell(f"fetching {package}")
    options = ["-o", "APT::Sandbox::User=root"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(dir=keep, prefix=".fetch-") as work:
        _output("apt-get", "-q", *options, "download", package, cwd=work)
        debs = glob.glob(os.path.join(work, "*.deb"))
        if len(debs) != 1:
            raise PackageError(f"apt-get download {package}: no package file came")
        tree = os.path.join(work, "tree")
        _output("dpkg", "-x", debs[0], tree)
        os.rename(tree, target)


class Kernel:
    """A kernel package: its image, its modules and their dependencies."""

    def __init__(self, tree):
        self.tree = tree
        self.release = os.listdir(os.path.join(tree, "lib/modules"))[0]
        self.image = os.path.join(tree, f"boot/vmlinuz-{self.release}")
        self.modules = os.path.join(tree, f"lib/modules/{self.release}")
        dep = os.path.join(self.modules, "modules.dep")
        if not os.path.exists(dep):
            _output(shutil.which("depmod") or "/sbin/depmod", "-b", tree, self.release)
        self._path, self._needs = {}, {}
        with open(dep, encoding="ascii") as lines:
            for line in lines:
                path, _, needs = line.partition(":")
                self._path[_module_name(path)] = path
                self._needs[path] = needs.split()
        with open(os.path.join(self.modules, "modules.builtin"), encoding="ascii") as lines:
            self._builtin = {_module_name(line.strip()) for line in lines}

    def has(self, name):
        name = name.replace("-", "_")
        return name in self._path or name in self._builtin

    def resolve(self, names):
        """Paths below self.modules of modules NAMES and all they need, in loading order."""
        order = []

        def add(path):
            for need in reversed(self._needs[path]):
                add(need)
            if path not in order:
                order.append(path)
        for name in names:
            name = name.replace("-", "_")
            if name in self._path:
                add(self._path[name])
            elif name not in self._builtin:
                raise PackageError(f"kernel {self.release} has no module {name}")
        return order


def _module_name(path):
    return os.path.basename(path).split(".")[0].replace("-", "_")


def _cached_kernel(kind):
    """The newest kernel of KIND in the cache; asking apt takes seconds."""
    trees = [tree for tree in glob.glob(os.path.join(cache_dir("packages"), "linux-image-*"))
             if ("-cloud-" in os.path.basename(tree)) == (kind == "cloud")]
    return max(trees, key=os.path.getmtime, default=None)


def kernel(kind, update=False):
    """Debian's kernel of KIND, "standard" or "cloud"; with UPDATE the one apt has now."""
    tree = None if update else _cached_kernel(kind)
    if not tree:
        meta = KERNELS[kind]
        real = [name for name in depends(meta) if name.startswith("linux-image-")]
        if not real:
            raise PackageError(f"{meta} names no kernel: run `apt-get update` (or tools/deps)")
        tree = unpacked(real[0])
    return Kernel(tree)
