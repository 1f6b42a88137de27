# SPDX-License-Identifier: Apache-2.0
"""What tools/quickstart is made of."""
