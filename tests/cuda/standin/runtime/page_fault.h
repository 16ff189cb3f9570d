#pragma once

namespace standin {

// Says what it was that the host followed when it is a pointer of the device, or freed pinned
// memory, and lets the process end by SIGSEGV as it would. Cheap to call again: a handler that the
// program has put in place since then comes after ours.
void WatchPageFaults();

}  // namespace standin
