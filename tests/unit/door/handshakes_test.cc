#include "server/door/handshakes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/fake_clock.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

struct FreeTls {
  void operator()(X509* owned) const { X509_free(owned); }
  void operator()(EVP_PKEY* owned) const { EVP_PKEY_free(owned); }
  void operator()(BIO* owned) const { BIO_free(owned); }
  void operator()(SSL_CTX* owned) const { SSL_CTX_free(owned); }
  void operator()(SSL* owned) const { SSL_free(owned); }
};
template <typename T>
using Owned = std::unique_ptr<T, FreeTls>;

std::string TextOf(BIO* bytes) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bytes, &text);
  return std::string(text, static_cast<size_t>(size));
}

// A certificate that vouches for itself, and its key, as files.
TlsFiles WriteCertificate(const TemporaryDirectory& folder) {
  const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const Owned<X509> certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("server"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const Owned<BIO> certificate_text(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate_text.get(), certificate.get());
  const Owned<BIO> key_text(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {.certificate = folder.Write("server.pem", TextOf(certificate_text.get())),
          .key = folder.Write("server.key", TextOf(key_text.get()))};
}

class HandshakesTest : public ::testing::Test {
 protected:
  // How a handshake has ended.
  struct End {
    enum How { kDone, kLate, kFailed } how = kFailed;
    std::unique_ptr<TlsStream> stream = nullptr;
  };

  // Somebody connects. His end of it; what the server comes to is `ends_.back()`.
  Descriptor Connect() {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    auto ended = std::make_shared<std::promise<End>>();
    ends_.push_back(ended->get_future());
    handshakes_->Add(std::make_unique<TlsStream>(Descriptor(pair[1]), *context_),
                     {.on_done =
                          [ended](std::unique_ptr<TlsStream> stream) {
                            ended->set_value({End::kDone, std::move(stream)});
                          },
                      .on_late = [ended] { ended->set_value({End::kLate}); },
                      .on_failed = [ended] { ended->set_value({End::kFailed}); }});
    return Descriptor(pair[0]);
  }

  // A client that offers these protocols, as ALPN writes them, and has shaken hands or failed.
  Owned<SSL> Shake(const Descriptor& socket, const std::string& protocols) {
    Owned<SSL> client(SSL_new(client_context_.get()));
    SSL_set_alpn_protos(client.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                        static_cast<unsigned>(protocols.size()));
    SSL_set_fd(client.get(), socket.get());
    SSL_connect(client.get());
    return client;
  }

  const TemporaryDirectory folder_;
  const std::shared_ptr<const TlsContext> context_ =
      *TlsContext::Read(WriteCertificate(folder_), absl::Now());
  const Owned<SSL_CTX> client_context_{SSL_CTX_new(TLS_client_method())};
  FakeClock clock_;
  std::unique_ptr<Handshakes> handshakes_ =
      *Handshakes::Open({.clock = &clock_, .limit = absl::Seconds(5)});
  std::vector<std::future<End>> ends_;
};

TEST_F(HandshakesTest, GiveAStreamThatCarriesWhatIsSent) {
  const Descriptor socket = Connect();
  const Owned<SSL> client = Shake(socket, "\2h2");
  End end = ends_.back().get();
  ASSERT_EQ(end.how, End::kDone);
  EXPECT_EQ(end.stream->principal(), "") << "nobody was asked for a certificate";
  EXPECT_EQ(end.stream->Write("welcome").bytes, 7u);
  std::array<char, 16> heard;
  ASSERT_EQ(SSL_read(client.get(), heard.data(), heard.size()), 7);
  EXPECT_EQ(std::string(heard.data(), 7), "welcome");
  ASSERT_EQ(SSL_write(client.get(), "hello", 5), 5);
  ASSERT_EQ(end.stream->Read(absl::MakeSpan(heard)).bytes, 5u);
  EXPECT_EQ(std::string(heard.data(), 5), "hello");
}

// What OpenSSL has read of a record and not given, no loop would hear of.
TEST_F(HandshakesTest, GiveAStreamThatReadsWholeRecordsManyAtATime) {
  const Descriptor socket = Connect();
  const Owned<SSL> client = Shake(socket, "\2h2");
  const End end = ends_.back().get();
  size_t left = 0;
  for (const int bytes : {1, 9, 10'000, 10'000, 16'384}) {
    ASSERT_EQ(SSL_write(client.get(), std::string(bytes, 'r').data(), bytes), bytes);
    left += bytes;
  }
  std::vector<char> heard(32 << 10);
  int reads = 0;
  for (; left > 0; ++reads) {
    pollfd readable = {.fd = end.stream->fd(), .events = POLLIN};
    ASSERT_EQ(poll(&readable, 1, 0), 1) << left << " bytes are left";
    left -= end.stream->Read(absl::MakeSpan(heard)).bytes;
  }
  EXPECT_EQ(reads, 2);
}

// Changes the keys of what the client writes, so many times.
void ChangeKeys(SSL* client, int times, int request) {
  for (int i = 0; i < times; ++i) {
    ASSERT_EQ(SSL_key_update(client, request), 1);
    ASSERT_EQ(SSL_do_handshake(client), 1);
  }
}

TEST_F(HandshakesTest, GiveAStreamThatChangesKeysOneAtATime) {
  const Descriptor socket = Connect();
  const Owned<SSL> client = Shake(socket, "\2h2");
  const End end = ends_.back().get();
  ChangeKeys(client.get(), 20, SSL_KEY_UPDATE_NOT_REQUESTED);
  ASSERT_EQ(SSL_write(client.get(), "hello", 5), 5);
  std::array<char, 16> heard;
  for (int changes = 0; changes < 20; ++changes) {
    EXPECT_EQ(end.stream->Read(absl::MakeSpan(heard)).result, Transfer::kBlocked);
    pollfd readable = {.fd = end.stream->fd(), .events = POLLIN};
    ASSERT_EQ(poll(&readable, 1, 0), 1) << changes << " records are read";
  }
  EXPECT_EQ(end.stream->Read(absl::MakeSpan(heard)).bytes, 5u);
}

TEST_F(HandshakesTest, GiveAStreamThatFailsForWhoChangesKeysAgainAndAgain) {
  const Descriptor socket = Connect();
  const Owned<SSL> client = Shake(socket, "\2h2");
  const End end = ends_.back().get();
  ChangeKeys(client.get(), 100, SSL_KEY_UPDATE_NOT_REQUESTED);
  std::array<char, 16> heard;
  int reads = 0;
  while (end.stream->Read(absl::MakeSpan(heard)).result == Transfer::kBlocked && reads < 100)
    ++reads;
  EXPECT_EQ(end.stream->Read(absl::MakeSpan(heard)).result, Transfer::kFailed);
  EXPECT_LT(reads, 65);
}

TEST_F(HandshakesTest, GiveAStreamThatFailsForWhoAsksForKeysAndDoesNotReadThem) {
  const Descriptor socket = Connect();
  const Owned<SSL> client = Shake(socket, "\2h2");
  const End end = ends_.back().get();
  const int smallest = 1;
  setsockopt(end.stream->fd(), SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest));
  ChangeKeys(client.get(), 50, SSL_KEY_UPDATE_REQUESTED);
  std::array<char, 16> heard;
  int reads = 0;
  while (end.stream->Read(absl::MakeSpan(heard)).result == Transfer::kBlocked && reads < 50)
    ++reads;
  EXPECT_LT(reads, 50);
}

TEST_F(HandshakesTest, RefuseWhoSpeaksAnotherProtocol) {
  {
    const Descriptor socket = Connect();
    Shake(socket, "\10http/1.1");
  }
  EXPECT_EQ(ends_.back().get().how, End::kFailed);
}

TEST_F(HandshakesTest, RefuseWhatIsNoTls) {
  {
    const Descriptor socket = Connect();
    send(socket.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL);
  }
  EXPECT_EQ(ends_.back().get().how, End::kFailed);
}

TEST_F(HandshakesTest, AreNotWaitedForLong) {
  const Descriptor silent = Connect();
  const Descriptor other = Connect();
  Shake(other, "\2h2");
  EXPECT_EQ(ends_.back().get().how, End::kDone);
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(ends_.front().get().how, End::kLate);
}

TEST_F(HandshakesTest, EndWithTheDoor) {
  const Descriptor before = Connect();
  handshakes_->EndAll();
  EXPECT_EQ(ends_.back().get().how, End::kFailed);
  const Descriptor after = Connect();
  EXPECT_EQ(ends_.back().get().how, End::kFailed);
}

}  // namespace
}  // namespace peerage
