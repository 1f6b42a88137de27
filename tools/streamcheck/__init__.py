# SPDX-License-Identifier: Apache-2.0
"""A second, independent decoder of the migration stream, written from proto/stream.md."""
