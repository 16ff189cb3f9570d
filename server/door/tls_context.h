#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace peerage {

// Files of PEM.
struct TlsFiles {
  std::string certificate;  // the server's own, then those that lead to its authority
  std::string key;
  std::string client_ca;  // empty: nobody is asked for a certificate
};

// What a server shows and asks for in TLS handshakes: TLS 1.2 or later, and HTTP/2 alone by ALPN.
// Sessions are not resumed: who comes again shows his certificate again. Threads: immutable.
class TlsContext {
 public:
  // Reads and checks everything: that it parses, that the key is the certificate's, that each
  // certificate was issued by the next one, and that none has expired at `now`; that clients'
  // authorities are some, and one of them is valid. INVALID_ARGUMENT names the file; nothing of a
  // key is ever in it.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> Read(const TlsFiles& files,
                                                                absl::Time now);

  // For SSL_new, which counts as a use.
  SSL_CTX* get() const { return context_.get(); }
  // When the first of the server's certificates expires.
  absl::Time expiry() const { return expiry_; }

 private:
  struct Free {
    void operator()(SSL_CTX* owned) const { SSL_CTX_free(owned); }
  };

  TlsContext(SSL_CTX* context, absl::Time expiry) : context_(context), expiry_(expiry) {}

  const std::unique_ptr<SSL_CTX, Free> context_;
  const absl::Time expiry_;
};

// The context of handshakes that begin now. Threads: safe from many.
class CurrentTls {
 public:
  void Set(std::shared_ptr<const TlsContext> context) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    context_.swap(context);
  }
  std::shared_ptr<const TlsContext> Get() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return context_;
  }

 private:
  mutable absl::Mutex mu_;
  std::shared_ptr<const TlsContext> context_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
