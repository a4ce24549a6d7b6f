#pragma once

namespace flagstream::io {

// Makes the calling thread, and every thread and process that it starts from now on, give way to
// what serves requests on the same machine.  It becomes nicer by 10, a tenth of what the others get
// where both want a core, and keeps off the first of the cores that it may use, where it may use
// more than one: what computes for long delays the kernel's flushes on every core that it is on
// (docs/decisions/0031).  Where the kernel refuses, nothing changes.  Any thread.
void give_way();

}  // namespace flagstream::io
