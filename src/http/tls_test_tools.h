// For tests of TLS: certificates made on the spot, and a client that says and hears bytes as they
// stand.
#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/test_client.h"

namespace flagstream::http::testing_tls {

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;
using Key = Owned<EVP_PKEY>;

constexpr long kValidSeconds = 90 * 86'400;

inline Key new_key() { return Key(EVP_EC_gen("P-256")); }

inline std::string pem_of(X509* certificate) {
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(out.get(), certificate);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

// With a passphrase: encrypted.
inline std::string pem_of(EVP_PKEY* key, std::string_view passphrase = {}) {
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(out.get(), key, passphrase.empty() ? nullptr : EVP_aes_128_cbc(),
                                passphrase.data(), static_cast<int>(passphrase.size()), nullptr,
                                nullptr);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

// Replaced in one step, as programs that renew certificates do.
inline void write_file(const std::string& path, std::string_view text, mode_t mode = 0600) {
  const std::string next = path + ".next";
  std::ofstream(next) << text;
  ::chmod(next.c_str(), mode);
  std::filesystem::rename(next, path);
}

// A certificate authority in a folder of its own, with one intermediate between its root and what
// it issues, all for localhost and 127.0.0.1.
class Authority {
 public:
  Authority() : folder_(testing::TempDir() + "tls_" + std::to_string(::getpid()) + "_XXXXXX") {
    if (::mkdtemp(folder_.data()) == nullptr) ADD_FAILURE() << "no folder";
    root_ = make("root", root_key_.get(), nullptr, root_key_.get(), true, -60, kValidSeconds);
    intermediate_ = make("intermediate", intermediate_key_.get(), root_.get(), root_key_.get(),
                         true, -60, kValidSeconds);
    write_file(root_path(), pem_of(root_.get()));
  }
  ~Authority() { std::filesystem::remove_all(folder_); }
  Authority(const Authority&) = delete;

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string root_path() const { return path("root.pem"); }
  std::string certificate_path() const { return path("server.pem"); }
  std::string key_path() const { return path("server.key"); }

  // A chain for the key; `name` tells it from others. Times in seconds from now.
  std::string issue(EVP_PKEY* key, const std::string& name, long from = -60,
                    long until = kValidSeconds) {
    const auto own =
        make(name, key, intermediate_.get(), intermediate_key_.get(), false, from, until);
    return pem_of(own.get()) + pem_of(intermediate_.get());
  }
  // A new key and certificate where the server looks for them.
  void install(const std::string& name, long from = -60, long until = kValidSeconds) {
    const Key key = new_key();
    write_file(key_path(), pem_of(key.get()));
    write_file(certificate_path(), issue(key.get(), name, from, until));
  }

 private:
  static void extend(X509* certificate, X509* issuer, int id, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer == nullptr ? certificate : issuer, certificate, nullptr,
                   nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  static Owned<X509> make(const std::string& name, EVP_PKEY* key, X509* issuer,
                          EVP_PKEY* issuer_key, bool is_authority, long from, long until) {
    static long serial = 1;
    Owned<X509> out(X509_new());
    X509_set_version(out.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(out.get()), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(out.get()), from);
    X509_gmtime_adj(X509_getm_notAfter(out.get()), until);
    X509_set_pubkey(out.get(), key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(out.get(), X509_get_subject_name(issuer == nullptr ? out.get() : issuer));
    if (is_authority) extend(out.get(), issuer, NID_basic_constraints, "critical,CA:TRUE");
    extend(out.get(), issuer, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_sign(out.get(), issuer_key, EVP_sha256());
    return out;
  }

  std::string folder_;
  Key root_key_ = new_key(), intermediate_key_ = new_key();
  Owned<X509> root_, intermediate_;
};

struct ClientOptions {
  std::string root_path;  // empty: trusts nobody
  int version_max = TLS1_3_VERSION;
  std::string alpn = {};  // in the protocol's own form: "\x08http/1.1"
  SSL_SESSION* resumed = nullptr;
};

// This thread's writes raise no SIGPIPE; the server's threads must do without.
class QuietPipe {
 public:
  QuietPipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~QuietPipe() {
    const timespec at_once{};
    while (::sigtimedwait(&pipe_, nullptr, &at_once) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  QuietPipe(const QuietPipe&) = delete;

 private:
  sigset_t pipe_, before_;
};

// Blocking; gives up after 10 s.
class TlsClient {
 public:
  TlsClient(const std::string& address, const ClientOptions& options)
      : tcp_(address), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_security_level(context_.get(), 0);
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context_.get(), options.version_max);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT);
    if (!options.root_path.empty())
      SSL_CTX_load_verify_locations(context_.get(), options.root_path.c_str(), nullptr);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set1_host(ssl_.get(), "localhost");
    SSL_set_tlsext_host_name(ssl_.get(), "localhost");
    if (!options.alpn.empty()) {
      SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(options.alpn.data()),
                          static_cast<unsigned>(options.alpn.size()));
    }
    if (options.resumed != nullptr) SSL_set_session(ssl_.get(), options.resumed);
    SSL_set_fd(ssl_.get(), tcp_.descriptor());
    is_open_ = SSL_connect(ssl_.get()) == 1;
    if (is_open_) return;
    const char* reason = ERR_reason_error_string(ERR_get_error());
    failure_ = reason == nullptr ? "closed" : reason;
    ERR_clear_error();
  }
  // Goes without a word unless finish() was called.
  ~TlsClient() = default;

  bool is_open() const { return is_open_; }
  const std::string& failure() const { return failure_; }
  SSL* native() { return ssl_.get(); }
  // Subject of the server's certificate.
  std::string server_name() {
    char name[256] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(ssl_.get())),
                              NID_commonName, name, sizeof name);
    return name;
  }
  bool send(std::string_view bytes) {
    const QuietPipe quiet;
    std::size_t sent = 0;
    return bytes.empty() || SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &sent) == 1;
  }
  void finish_sending() {
    const QuietPipe quiet;
    SSL_shutdown(ssl_.get());
  }
  // Until `text` has come `times` times, or the server closed: "(closed)" if in order.
  std::string read_until(std::string_view text, int times = 1) {
    std::string got;
    std::size_t from = 0;
    for (;;) {
      for (std::size_t at; (at = got.find(text, from)) != std::string::npos;
           from = at + text.size()) {
        if (--times == 0) return got;
      }
      char part[16 << 10];
      std::size_t n = 0;
      if (SSL_read_ex(ssl_.get(), part, sizeof part, &n) == 1) {
        got.append(part, n);
        continue;
      }
      const bool in_order = SSL_get_error(ssl_.get(), 0) == SSL_ERROR_ZERO_RETURN;
      ERR_clear_error();
      return got + (in_order ? "(closed)" : "(broken off)");
    }
  }
  std::string read_all() { return read_until("no such text is ever sent"); }

 private:
  testing_client::Client tcp_;
  Owned<SSL_CTX> context_;
  Owned<SSL> ssl_;
  bool is_open_ = false;
  std::string failure_;
};

}  // namespace flagstream::http::testing_tls
