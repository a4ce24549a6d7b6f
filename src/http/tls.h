// TLS as the server's connections use it, over OpenSSL: a certificate with its key, and the session
// of one connection, which reads and writes like a socket that does not wait.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <sys/types.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/error.h"

struct ssl_ctx_st;
struct ssl_st;

namespace flagstream::http {

enum class TlsVersion { Tls12, Tls13 };

struct TlsSettings {
  std::string listen;            // as ServerSettings::listen, but no Unix socket; empty: none
  std::string certificate_path;  // PEM: the server's certificate, then those that lead to its root
  std::string key_path;          // PEM, without a passphrase, not readable by everyone
  TlsVersion version_min = TlsVersion::Tls12;
  std::chrono::milliseconds poll_interval{5'000};  // between looks for new files
};

// What tells a file from the one that stood there before, also behind a symbolic link.
struct FileStamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified = 0, changed = 0;  // nanoseconds

  bool operator==(const FileStamp&) const = default;
};
// All zero if there is no such file.
FileStamp stamp_of(const std::string& path);

struct FreeSsl {
  void operator()(ssl_st* ssl) const;
  void operator()(ssl_ctx_st* context) const;
};
using SslPointer = std::unique_ptr<ssl_st, FreeSsl>;

// One certificate and its key, ready to serve. Immutable; any thread.
class TlsCertificate {
 public:
  // InvalidArgument, in one sentence that names the file: it cannot be read, is no PEM, is over 1
  // MiB, the key is another certificate's, has a passphrase or is readable by everyone.
  static Result<TlsCertificate> load(const TlsSettings& settings);

  // Null when memory is short.
  SslPointer new_session() const;
  MicrosUtc valid_from() const { return valid_from_; }
  MicrosUtc valid_until() const { return valid_until_; }
  // Of the files that were read.
  const FileStamp& certificate_stamp() const { return certificate_stamp_; }
  const FileStamp& key_stamp() const { return key_stamp_; }

 private:
  TlsCertificate() = default;

  std::unique_ptr<ssl_ctx_st, FreeSsl> context_;
  MicrosUtc valid_from_ = 0;
  MicrosUtc valid_until_ = 0;
  FileStamp certificate_stamp_, key_stamp_;
};

// How a handshake ended, and under which name it is counted.
enum class HandshakeOutcome {
  Completed,  // a full handshake
  Resumed,    // with the ticket of an earlier session
  PlainHttp,  // the client speaks HTTP without TLS
  Version,    // no version in common
  Cipher,     // no cipher, group or kind of signature in common
  Alpn,       // the client takes other protocols than http/1.1 only
  Refused,    // the client sent an alert: it does not trust the certificate, or the name is another
  Malformed,  // neither TLS nor HTTP
  Closed,     // the client has gone
  Timeout,    // not done before its deadline
};

// On one shard. The socket must be non-blocking and outlive every call but the destructor.
class TlsSession {
 public:
  enum class Progress { Done, Again, Failed };

  TlsSession(SslPointer ssl, int socket);

  // Again: once the socket is ready as waits_for_write() says. outcome() then tells the end.
  Progress shake_hands();
  HandshakeOutcome outcome() const { return outcome_; }

  // As recv(2) and sendmsg(2): -1 with EAGAIN must be tried again once the socket is ready as
  // waits_for_write() says, a send with the same bytes; 0 is an orderly end.
  ssize_t receive(char* to, std::size_t bytes);
  ssize_t send(std::span<const iovec> parts);
  // Of the last call that answered EAGAIN.
  bool waits_for_write() const { return waits_for_write_; }
  // Tells the client, if its socket takes it at once, that nothing more comes.
  void finish();

 private:
  ssize_t result_of(int returned);

  SslPointer ssl_;
  HandshakeOutcome outcome_ = HandshakeOutcome::Closed;
  bool waits_for_write_ = false;
  bool is_usable_ = true;  // false once OpenSSL has met a fault, after which it may not be called
  bool is_finished_ = false;
};

}  // namespace flagstream::http
