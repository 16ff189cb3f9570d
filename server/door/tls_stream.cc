#include "server/door/tls_stream.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/match.h"

namespace peerage {
namespace {

// Of a client: a handshake has five at most, and few clients ever change their keys.
constexpr int kMostHandshakeMessages = 64;

std::string TextOf(const ASN1_STRING* text) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

// The only one.
std::string CommonName(X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, index) >= 0) return "";
  return TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
}

// Authorities that check what a SPIFFE id says need not look for one where none belongs.
std::string UnlessSpiffe(const std::string& name) {
  return absl::StartsWithIgnoreCase(name, "spiffe:") ? "" : name;
}

}  // namespace

std::string CertificateName(X509* certificate) {
  struct FreeNames {
    void operator()(GENERAL_NAMES* owned) const { GENERAL_NAMES_free(owned); }
  };
  int found = 0;
  const std::unique_ptr<GENERAL_NAMES, FreeNames> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &found, nullptr)));
  constexpr int kAbsent = -1;
  if (names == nullptr && found != kAbsent) return "";  // broken, or several
  std::vector<std::string> spiffe_ids, dns_names;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) dns_names.push_back(TextOf(name->d.dNSName));
    if (name->type != GEN_URI) continue;
    std::string uri = TextOf(name->d.uniformResourceIdentifier);
    if (absl::StartsWith(uri, "spiffe://")) spiffe_ids.push_back(std::move(uri));
  }
  if (spiffe_ids.size() > 1) return "";
  if (!spiffe_ids.empty()) return spiffe_ids.front();
  return UnlessSpiffe(dns_names.empty() ? CommonName(certificate) : dns_names.front());
}

TlsStream::TlsStream(Descriptor socket, const TlsContext& context)
    : socket_(std::move(socket)), ssl_(SSL_new(context.get())) {
  if (ssl_ == nullptr) return;
  SSL_set_fd(ssl_.get(), socket_.get());
  SSL_set_msg_callback(ssl_.get(), OnMessage);
  SSL_set_msg_callback_arg(ssl_.get(), this);
}

void TlsStream::OnMessage(int is_written, int, int content_type, const void*, size_t, SSL*,
                          void* stream) {
  if (is_written != 0 || content_type != SSL3_RT_HANDSHAKE) return;
  ++static_cast<TlsStream*>(stream)->handshake_messages_;
}

Transfer::Result TlsStream::Shake() {
  if (refused_) return Discard();
  if (ssl_ == nullptr) return Refuse();
  ERR_clear_error();
  const int accepted = SSL_accept(ssl_.get());
  if (accepted == 1) return HasHttp2() ? Transfer::kMoved : Refuse();
  return ResultOf(accepted) == Transfer::kBlocked ? Transfer::kBlocked : Refuse();
}

bool TlsStream::HasHttp2() const {
  const unsigned char* protocol = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &protocol, &size);
  return absl::string_view(reinterpret_cast<const char*>(protocol), size) == "h2";
}

// Closing at once would reset the connection while the client still sends, and the alert that says
// why would be lost.
Transfer::Result TlsStream::Refuse() {
  refused_ = true;
  shutdown(socket_.get(), SHUT_WR);
  return Discard();
}

Transfer::Result TlsStream::Discard() const {
  std::array<char, 4096> ignored;
  const ssize_t read = recv(socket_.get(), ignored.data(), ignored.size(), 0);
  const bool waits = read > 0 || (read < 0 && (errno == EAGAIN || errno == EINTR));
  return waits ? Transfer::kBlocked : Transfer::kEnded;
}

std::string TlsStream::principal() const {
  X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  return certificate == nullptr ? "" : CertificateName(certificate);
}

Transfer TlsStream::Read(absl::Span<char> into) {
  // A client writes a record for each call, and OpenSSL reads one at a time. Each has to fit: what
  // it has read and not given does not make the socket readable.
  size_t bytes = 0;
  do {
    ERR_clear_error();
    const int read =
        SSL_read(ssl_.get(), into.data() + bytes, static_cast<int>(into.size() - bytes));
    if (handshake_messages_ > kMostHandshakeMessages) return {Transfer::kFailed};
    // The socket would stay readable, and reading would come to nothing.
    if (read <= 0 && SSL_want_write(ssl_.get())) return {Transfer::kFailed};
    if (read <= 0) return bytes > 0 ? Transfer{Transfer::kMoved, bytes} : Transfer{ResultOf(read)};
    bytes += static_cast<size_t>(read);
  } while (into.size() - bytes >= SSL3_RT_MAX_PLAIN_LENGTH);
  return {Transfer::kMoved, bytes};
}

Transfer TlsStream::Write(absl::string_view bytes) {
  ERR_clear_error();
  const int written = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  if (written > 0) return {Transfer::kMoved, static_cast<size_t>(written)};
  return {ResultOf(written)};
}

void TlsStream::EndWriting() {
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  shutdown(socket_.get(), SHUT_WR);
}

Transfer::Result TlsStream::ResultOf(int returned) const {
  switch (SSL_get_error(ssl_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Transfer::kBlocked;
    case SSL_ERROR_ZERO_RETURN:
      return Transfer::kEnded;
    default:
      return Transfer::kFailed;
  }
}

}  // namespace peerage
