# SPDX-License-Identifier: Apache-2.0
"""`python -m morph`: the command `morph`."""

from morph._program import main

main()
