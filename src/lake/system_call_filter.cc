#include "lake/system_call_filter.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace flagstream::lake {
namespace {

#if defined(__x86_64__)

constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
// Numbers from here on are the x32 interface to the same calls.
constexpr std::uint32_t kOtherInterface = 0x40000000;

constexpr std::uint32_t kForbidden[] = {
    SYS_creat,
    SYS_mkdir,
    SYS_mkdirat,
    SYS_mknod,
    SYS_mknodat,
    SYS_unlink,
    SYS_unlinkat,
    SYS_rmdir,
    SYS_rename,
    SYS_renameat,
    SYS_renameat2,
    SYS_link,
    SYS_linkat,
    SYS_symlink,
    SYS_symlinkat,
    SYS_truncate,
    SYS_chmod,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_chown,
    SYS_fchown,
    SYS_lchown,
    SYS_fchownat,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    SYS_utimensat,
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_sendto,
    SYS_sendmsg,
    SYS_execve,
    SYS_execveat,
    SYS_fork,
    SYS_vfork,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_mount,
    SYS_io_uring_setup,
    SYS_open_by_handle_at,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_memfd_create,
    SYS_bpf,
};

constexpr std::uint32_t kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;

sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}
sock_filter answer(std::uint32_t what) { return BPF_STMT(BPF_RET | BPF_K, what); }
// Skips `over` instructions unless the comparison holds.
sock_filter unless_equal(std::uint32_t value, std::uint8_t over) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, over);
}

constexpr std::uint32_t kRefused = SECCOMP_RET_ERRNO | EPERM;
constexpr std::uint32_t kNotThere = SECCOMP_RET_ERRNO | ENOSYS;

// The lower half of an argument: the flags that matter are all in it.
constexpr std::size_t argument(std::size_t index) {
  return offsetof(seccomp_data, args) + index * sizeof(std::uint64_t);
}

std::vector<sock_filter> program() {
  std::vector<sock_filter> lines;
  const auto add = [&](std::initializer_list<sock_filter> more) {
    lines.insert(lines.end(), more);
  };
  add({load(offsetof(seccomp_data, arch)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
       answer(SECCOMP_RET_KILL_PROCESS)});
  add({load(offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kOtherInterface, 0, 1),
       answer(SECCOMP_RET_KILL_PROCESS)});
  for (const std::uint32_t call : kForbidden) add({unless_equal(call, 1), answer(kRefused)});
  // Their flags are behind a pointer, out of reach; the C library then takes the older call.
  for (const std::uint32_t call : {SYS_openat2, SYS_clone3})
    add({unless_equal(call, 1), answer(kNotThere)});
  const auto only_for_reading = [&](std::uint32_t call, std::size_t flags) {
    add({unless_equal(call, 4), load(argument(flags)),
         BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kWriting, 0, 1), answer(kRefused),
         answer(SECCOMP_RET_ALLOW)});
  };
  only_for_reading(SYS_open, 1);
  only_for_reading(SYS_openat, 2);
  add({unless_equal(SYS_clone, 4), load(argument(0)),
       BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0), answer(kRefused),
       answer(SECCOMP_RET_ALLOW)});
  add({answer(SECCOMP_RET_ALLOW)});
  return lines;
}

bool install() {
  std::vector<sock_filter> lines = program();
  const sock_fprog filter{.len = static_cast<unsigned short>(lines.size()), .filter = lines.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

#else

bool install() { return false; }

#endif

}  // namespace

bool forbid_writing_and_network() { return install(); }

}  // namespace flagstream::lake
