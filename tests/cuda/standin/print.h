// What device code calls in the driver: printf and failed assertions.
#pragma once

#include "lanes.h"

namespace ptx {

void Print(Warp& w, const Inst& i, u32 m);       // r: d, address of the format, of the arguments
void AssertFail(Warp& w, const Inst& i, u32 m);  // r: address of the message

}  // namespace ptx
