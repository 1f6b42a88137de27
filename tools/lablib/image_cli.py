# SPDX-License-Identifier: Apache-2.0
"""The commands of tools/guest-image."""
import argparse
import sys

from . import debian, guest_kernel, image

EPILOG = """\
examples:
  tools/guest-image kernel cloud
  tools/guest-image kernel cloud --print image
  tools/guest-image initramfs small.cpio.lz4
  tools/guest-image initramfs redis.cpio.lz4 --package redis-server --package redis-tools
  tools/guest-image initramfs test.cpio.lz4 --add build/tests/lab/guest/memverify
  tools/guest-image disk data.raw --size 1G
  tools/guest-image disk debian.raw --size 2G --package redis-server --package redis-tools

Boot an initramfs with its kernel and, for example,
  console=ttyS0 segue.ip=10.77.0.100/24 segue.start=redis segue.shell
and a disk image with any initramfs and segue.root=/dev/vda on top.
tools/guest/init tells all that the command line can say.
"""


def size(text):
    units = {"K": 10, "M": 20, "G": 30}
    shift = units.get(text[-1:].upper(), 0)
    return int(text[:-1] if shift else text) << shift


def cmd_kernel(args):
    kernel = debian.kernel(args.kind, args.update)
    found = {"image": kernel.image, "modules": kernel.modules, "release": kernel.release}
    if args.print:
        print(found[args.print])
    else:
        for key, value in found.items():
            print(key, value)


def cmd_initramfs(args):
    packages = ["redis-server", "redis-tools"] if args.redis else []
    kernel = guest_kernel.NoModules if args.kernel == "pv" else debian.kernel(args.kernel)
    image.initramfs(args.output, kernel, packages + args.package, args.add,
                    args.module, args.full, args.compress)


def cmd_disk(args):
    image.disk(args.output, args.size, args.package, args.add, args.full, args.label)


def parser():
    top = argparse.ArgumentParser(
        prog="tools/guest-image", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Guest images from Debian packages, without root and installing nothing.")
    sub = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    each = sub.add_parser("kernel", help="fetch a Debian kernel and print where it is")
    each.add_argument("kind", choices=sorted(debian.KERNELS))
    each.add_argument("--print", choices=("image", "modules", "release"), help="only this")
    each.add_argument("--update", action="store_true", help="look for a newer one")
    each.set_defaults(run=cmd_kernel)

    each = sub.add_parser("initramfs", help="an initramfs with busybox and what you name")
    _content(each)
    each.add_argument("--kernel", choices=sorted([*debian.KERNELS, "pv"]),
                      default="cloud", help="whose modules go in (default: cloud); pv, of "
                      "tools/guest-kernel, has none")
    each.add_argument("--redis", action="store_true", help="a Redis server and its tools")
    each.add_argument("--module", action="append", default=[], metavar="NAME")
    each.add_argument("--compress", choices=("lz4", "gzip", "none"), default="lz4")
    each.set_defaults(run=cmd_initramfs)

    each = sub.add_parser("disk", help="a raw ext4 image with the packages you name, or empty")
    _content(each)
    each.add_argument("--size", type=size, default=size("1G"), metavar="SIZE")
    each.add_argument("--label", default="segue")
    each.set_defaults(run=cmd_disk)
    return top


def _content(each):
    each.add_argument("output")
    each.add_argument("--package", action="append", default=[], metavar="NAME",
                      help="a Debian package, with the libraries it needs")
    each.add_argument("--full", action="store_true", help="with everything packages depend on")
    each.add_argument("--add", action="append", default=[], metavar="FILE[:PATH]",
                      help="a file; without PATH it is a program, on the search path")


def main(argv=None):
    args = parser().parse_args(argv)
    try:
        args.run(args)
    except (image.ImageError, debian.PackageError, OSError) as error:
        print(f"tools/guest-image: {error}", file=sys.stderr)
        return 1
    return 0
