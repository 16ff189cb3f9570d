#pragma once

#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <string>

#include "server/door/byte_stream.h"
#include "server/door/descriptor.h"
#include "server/door/tls_context.h"

namespace peerage {

// The server's end of a TLS connection, over a socket that does not block. Reading does the
// handshake; who does not speak HTTP/2 by ALPN, or shows no certificate where one is asked for,
// is refused in it: what he still sends is thrown away until he hears of that. What is written
// before its end waits here: a server's first words, which are few.
//
// Threads: one.
class TlsStream final : public ByteStream {
 public:
  // `on_handshake` is told once, before anything is read, whom the client's verified certificate
  // names (see CertificateName); "" without one.
  TlsStream(Descriptor socket, const TlsContext& context,
            std::function<void(std::string principal)> on_handshake);

  int fd() const override { return socket_.get(); }
  Transfer Read(absl::Span<char> into) override;
  Transfer Write(absl::string_view bytes) override;
  void EndWriting() override;

 private:
  struct Free {
    void operator()(SSL* owned) const { SSL_free(owned); }
  };

  // kMoved once the handshake is done and what waited is written.
  Transfer::Result Shake();
  void Refuse();
  Transfer Discard(absl::Span<char> into) const;
  Transfer::Result ResultOf(int returned) const;

  const Descriptor socket_;
  const std::unique_ptr<SSL, Free> ssl_;
  const std::function<void(std::string)> on_handshake_;
  bool established_ = false;
  bool refused_ = false;
  std::string early_;  // written before the handshake's end
};

// Whom a certificate names: its only SPIFFE id, else its first DNS name, else its only common name;
// "" for none, several SPIFFE ids, and a DNS or common name that looks like one.
std::string CertificateName(X509* certificate);

}  // namespace peerage
