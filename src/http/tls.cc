#include "http/tls.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace flagstream::http {
namespace {

constexpr std::size_t kFileBytesMax = 1u << 20;
constexpr std::size_t kRecordBytes = 16 << 10;  // what one TLS record holds at most
constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
// Of TLS 1.2: only what has forward secrecy and authenticates what it encrypts. All of 1.3 do.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr std::array<unsigned char, 9> kAlpn = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

struct FreeOpenssl {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <class T>
using Owned = std::unique_ptr<T, FreeOpenssl>;

int socket_of(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

// OpenSSL's own socket BIO raises SIGPIPE.
int bio_write(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent =
      ::send(socket_of(bio), bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int bio_read(BIO* bio, char* to, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = ::recv(socket_of(bio), to, static_cast<std::size_t>(size), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* bio_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

// What OpenSSL complained about first; leaves its queue empty.
std::string openssl_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason == nullptr ? "no reason is given" : reason;
}

std::unexpected<Error> refused(std::string_view what, const std::string& path,
                               std::string_view why) {
  return fail(ErrorKind::InvalidArgument, fmt::format("{} {} {}", what, path, why));
}

FileStamp stamp_of(const struct stat& file) {
  return {.device = file.st_dev,
          .inode = file.st_ino,
          .size = static_cast<std::uint64_t>(file.st_size),
          .modified = file.st_mtim.tv_sec * kNanosPerSecond + file.st_mtim.tv_nsec,
          .changed = file.st_ctim.tv_sec * kNanosPerSecond + file.st_ctim.tv_nsec};
}

struct LoadedFile {
  std::string text;
  FileStamp stamp;
};

Result<LoadedFile> read_pem(std::string_view what, const std::string& path, bool is_secret) {
  // O_NONBLOCK: a name that is a pipe must not hold the server up.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    return refused(what, path, fmt::format("cannot be read: {}", std::strerror(errno)));
  }
  struct Closer {
    int descriptor;
    ~Closer() { ::close(descriptor); }
  } const closer{descriptor};
  struct stat file{};
  if (::fstat(descriptor, &file) != 0 || !S_ISREG(file.st_mode)) {
    return refused(what, path, "is not a file");
  }
  if (is_secret && (file.st_mode & S_IRWXO) != 0) {
    return refused(what, path,
                   fmt::format("is open to every user of this machine (mode {:04o}): chmod 640 it",
                               file.st_mode & 07777));
  }
  LoadedFile loaded{.text = {}, .stamp = stamp_of(file)};
  std::array<char, 16 << 10> part;
  for (ssize_t got; (got = ::read(descriptor, part.data(), part.size())) > 0;) {
    loaded.text.append(part.data(), static_cast<std::size_t>(got));
    if (loaded.text.size() > kFileBytesMax) return refused(what, path, "is over 1 MiB");
  }
  return loaded;
}

// Refuses instead of asking on the terminal; `asked` becomes true.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Result<void> use_key(SSL_CTX* context, const std::string& path, const std::string& text) {
  const Owned<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  bool is_encrypted = false;
  const Owned<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &is_encrypted));
  if (is_encrypted) {
    return refused("the TLS key", path, "has a passphrase, which nobody could be asked for");
  }
  if (key == nullptr) {
    return refused("the TLS key", path,
                   fmt::format("is no private key in PEM ({})", openssl_reason()));
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return refused("the TLS key", path,
                   fmt::format("does not belong to the certificate ({})", openssl_reason()));
  }
  return {};
}

Result<MicrosUtc> micros_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    return fail(ErrorKind::InvalidArgument, "has a date that cannot be read");
  }
  return static_cast<MicrosUtc>(::timegm(&parts)) * kMicrosPerSecond;
}

Owned<X509> next_certificate(BIO* bio) {
  bool asked = false;
  return Owned<X509>(PEM_read_bio_X509(bio, nullptr, no_passphrase, &asked));
}

Result<Owned<X509>> use_chain(SSL_CTX* context, const std::string& path, const std::string& text) {
  const Owned<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  Owned<X509> own = next_certificate(bio.get());
  if (own == nullptr) {
    return refused("the TLS certificate", path,
                   fmt::format("is no certificate in PEM ({})", openssl_reason()));
  }
  if (SSL_CTX_use_certificate(context, own.get()) != 1) {
    return refused("the TLS certificate", path,
                   fmt::format("cannot be used ({})", openssl_reason()));
  }
  for (;;) {
    Owned<X509> next = next_certificate(bio.get());
    if (next == nullptr) break;
    if (SSL_CTX_add0_chain_cert(context, next.get()) != 1) {
      return refused("the TLS certificate", path,
                     fmt::format("has a chain that cannot be used ({})", openssl_reason()));
    }
    (void)next.release();  // the context's now
  }
  // Only the end of the text is a good reason to stop.
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    return refused("the TLS certificate", path,
                   fmt::format("has a damaged chain ({})", openssl_reason()));
  }
  ERR_clear_error();
  return own;
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kAlpn.data(), kAlpn.size(), offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

void configure(SSL_CTX* context, TlsVersion version_min) {
  SSL_CTX_set_min_proto_version(context,
                                version_min == TlsVersion::Tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context, kCiphers);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // Buffers of 2 x 16 KiB would otherwise stay with each of the idle connections.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);  // one system call a record instead of two
  // Sessions are resumed by tickets, which cost the server nothing to keep.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 1);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
}

HandshakeOutcome outcome_of(unsigned long code) {
  if (code == 0) return HandshakeOutcome::Closed;
  const int reason = ERR_GET_REASON(code);
  if (reason > SSL_AD_REASON_OFFSET) return HandshakeOutcome::Refused;
  switch (reason) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return HandshakeOutcome::Closed;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
      return HandshakeOutcome::Version;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
      return HandshakeOutcome::Cipher;
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return HandshakeOutcome::Alpn;
    default:
      return HandshakeOutcome::Malformed;
  }
}

}  // namespace

FileStamp stamp_of(const std::string& path) {
  struct stat file{};
  return ::stat(path.c_str(), &file) == 0 ? stamp_of(file) : FileStamp();
}

void FreeSsl::operator()(ssl_st* ssl) const { SSL_free(ssl); }
void FreeSsl::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

Result<TlsCertificate> TlsCertificate::load(const TlsSettings& settings) {
  FS_TRY(const LoadedFile certificate,
         read_pem("the TLS certificate", settings.certificate_path, false));
  FS_TRY(const LoadedFile key, read_pem("the TLS key", settings.key_path, true));
  ERR_clear_error();
  TlsCertificate out;
  out.context_.reset(SSL_CTX_new(TLS_server_method()));
  if (out.context_ == nullptr) {
    return fail(ErrorKind::Unavailable, "OpenSSL cannot start: " + openssl_reason());
  }
  configure(out.context_.get(), settings.version_min);
  FS_TRY(const Owned<X509> own,
         use_chain(out.context_.get(), settings.certificate_path, certificate.text));
  FS_TRY(use_key(out.context_.get(), settings.key_path, key.text));
  const auto from = micros_of(X509_get0_notBefore(own.get()));
  const auto until = micros_of(X509_get0_notAfter(own.get()));
  if (!from || !until) {
    return refused("the TLS certificate", settings.certificate_path,
                   (from ? until : from).error().what);
  }
  out.valid_from_ = *from;
  out.valid_until_ = *until;
  out.certificate_stamp_ = certificate.stamp;
  out.key_stamp_ = key.stamp;
  return out;
}

SslPointer TlsCertificate::new_session() const { return SslPointer(SSL_new(context_.get())); }

TlsSession::TlsSession(SslPointer ssl, int socket) : ssl_(std::move(ssl)) {
  BIO* bio = BIO_new(bio_method());
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket)));
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);  // the session's now
  SSL_set_accept_state(ssl_.get());
}

TlsSession::Progress TlsSession::shake_hands() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  if (done == 1) {
    outcome_ = SSL_session_reused(ssl_.get()) == 1 ? HandshakeOutcome::Resumed
                                                   : HandshakeOutcome::Completed;
    return Progress::Done;
  }
  const int error = SSL_get_error(ssl_.get(), done);
  waits_for_write_ = error == SSL_ERROR_WANT_WRITE;
  if (waits_for_write_ || error == SSL_ERROR_WANT_READ) return Progress::Again;
  is_usable_ = false;
  outcome_ = outcome_of(ERR_peek_error());
  ERR_clear_error();
  return Progress::Failed;
}

ssize_t TlsSession::result_of(int returned) {
  if (returned > 0) return returned;
  const int error = SSL_get_error(ssl_.get(), returned);
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  waits_for_write_ = error == SSL_ERROR_WANT_WRITE;
  if (waits_for_write_ || error == SSL_ERROR_WANT_READ) {
    errno = EAGAIN;
    return -1;
  }
  is_usable_ = false;
  ERR_clear_error();
  errno = ECONNRESET;
  return -1;
}

ssize_t TlsSession::receive(char* to, std::size_t bytes) {
  if (!is_usable_) {
    errno = ECONNRESET;
    return -1;
  }
  ERR_clear_error();
  constexpr std::size_t kMost = std::numeric_limits<int>::max();
  return result_of(SSL_read(ssl_.get(), to, static_cast<int>(std::min(bytes, kMost))));
}

ssize_t TlsSession::send(std::span<const iovec> parts) {
  while (!parts.empty() && parts.front().iov_len == 0) parts = parts.subspan(1);
  if (parts.empty()) return 0;
  if (!is_usable_ || is_finished_) {
    errno = EPIPE;
    return -1;
  }
  ERR_clear_error();
  const iovec& first = parts.front();
  if (first.iov_len >= kRecordBytes || parts.size() == 1) {
    return result_of(SSL_write(ssl_.get(), first.iov_base,
                               static_cast<int>(std::min(first.iov_len, kRecordBytes))));
  }
  // One record and one system call for a head and its body, or a chunk with its frame.
  thread_local std::array<char, kRecordBytes> record;
  std::size_t filled = 0;
  for (const iovec& part : parts) {
    const std::size_t taken = std::min(part.iov_len, kRecordBytes - filled);
    if (taken == 0) continue;  // its address may be null
    std::memcpy(record.data() + filled, part.iov_base, taken);
    filled += taken;
    if (filled == kRecordBytes) break;
  }
  return result_of(SSL_write(ssl_.get(), record.data(), static_cast<int>(filled)));
}

void TlsSession::finish() {
  if (!is_usable_ || std::exchange(is_finished_, true)) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

}  // namespace flagstream::http
