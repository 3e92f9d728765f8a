// SPDX-License-Identifier: MIT
// A gather with fewer arguments than the host sets: an API error under Oclgrind.
__kernel void gather(IN(x), IN_I32(index))
{
}
