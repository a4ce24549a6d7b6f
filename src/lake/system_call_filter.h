// A filter of system calls for a process that only computes and reads files.
#pragma once

namespace flagstream::lake {

// From now on this process, and every thread that it starts, can neither open a file for writing
// nor make, rename or remove one, nor open a socket, start a process or look into one: each such
// call fails with EPERM.  It cannot be taken back.  Returns false where the kernel has no such
// filters, or on a processor that this was not written for.
bool forbid_writing_and_network();

}  // namespace flagstream::lake
