#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "server/door/byte_stream.h"
#include "server/door/descriptor.h"
#include "server/door/tls_context.h"

namespace peerage {

// The server's end of a TLS connection, over a socket that does not block: first its handshake,
// then what is sent through it.
//
// Threads: one at a time.
class TlsStream final : public ByteStream {
 public:
  TlsStream(Descriptor socket, const TlsContext& context);

  // Goes on with the handshake. kMoved once it is done; kBlocked until the socket is readable, or
  // writable where it wants to write. Who does not speak HTTP/2 by ALPN, or shows no certificate
  // where one is asked for, is refused: what he still sends is thrown away until he hears of that
  // and ends (kEnded).
  Transfer::Result Shake();
  bool wants_to_write() const { return !refused_ && SSL_want_write(ssl_.get()); }
  bool refused() const { return refused_; }

  // The rest is for when the handshake is done. Reading fails for who changes his keys again and
  // again, which costs 0.1 ms each, and for who asks for the server's new ones and does not read
  // them.

  // Whom the client's verified certificate names (see CertificateName); "" without one.
  std::string principal() const;

  int fd() const override { return socket_.get(); }
  Transfer Read(absl::Span<char> into) override;
  Transfer Write(absl::string_view bytes) override;
  void EndWriting() override;

 private:
  struct Free {
    void operator()(SSL* owned) const { SSL_free(owned); }
  };

  // OpenSSL's of messages, of which a stream counts what it receives.
  static void OnMessage(int is_written, int version, int content_type, const void* bytes,
                        size_t size, SSL* ssl, void* stream);
  bool HasHttp2() const;
  Transfer::Result Refuse();
  Transfer::Result Discard() const;
  Transfer::Result ResultOf(int returned) const;

  const Descriptor socket_;
  const std::unique_ptr<SSL, Free> ssl_;  // null where there was no memory for it
  bool refused_ = false;
  int handshake_messages_ = 0;  // received, changes of keys among them
};

// Whom a certificate names: its only SPIFFE id, else its first DNS name, else its only common name;
// "" for none, several SPIFFE ids, and a DNS or common name that looks like one.
std::string CertificateName(X509* certificate);

}  // namespace peerage
