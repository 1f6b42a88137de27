# SPDX-License-Identifier: Apache-2.0
"""What tools/lab and tools/guest-image are made of. See docs/lab.md."""
