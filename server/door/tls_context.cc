#include "server/door/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr unsigned char kHttp2[] = {2, 'h', '2'};  // as ALPN writes it (RFC 7301, section 3.1)
constexpr int kMostIntermediates = 4;

struct FreeTls {
  void operator()(BIO* owned) const { BIO_free(owned); }
  void operator()(EVP_PKEY* owned) const { EVP_PKEY_free(owned); }
  void operator()(X509* owned) const { X509_free(owned); }
};
template <typename T>
using Owned = std::unique_ptr<T, FreeTls>;

absl::Status Refuse(const std::string& file, absl::string_view why) {
  ERR_clear_error();  // what OpenSSL has to say may quote the file
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", why));
}

absl::StatusOr<std::string> Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Refuse(path, "cannot be read");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

absl::StatusOr<std::vector<Owned<X509>>> ReadCertificates(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, Contents(path));
  const Owned<BIO> bytes(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  std::vector<Owned<X509>> certificates;
  while (X509* next = PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(next);
  }
  // The end of the file is an error, too, but of its own kind.
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (certificates.empty() || !at_end)
    return Refuse(path, "holds no certificates in PEM, or a broken one");
  ERR_clear_error();
  return certificates;
}

absl::StatusOr<Owned<EVP_PKEY>> ReadKey(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, Contents(path));
  const Owned<BIO> bytes(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  // A key under a passphrase is not asked for one.
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };
  Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(bytes.get(), nullptr, no_passphrase, nullptr));
  if (key == nullptr) return Refuse(path, "holds no private key in PEM without a passphrase");
  return key;
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm fields = {};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return absl::InfinitePast();
  return absl::FromTM(fields, absl::UTCTimeZone());
}

// Of the server's own certificates, in their order: when the first one expires.
absl::StatusOr<absl::Time> CheckChain(const std::string& path,
                                      const std::vector<Owned<X509>>& chain, absl::Time now) {
  absl::Time expiry = absl::InfiniteFuture();
  for (size_t i = 0; i < chain.size(); ++i) {
    X509* certificate = chain[i].get();
    if (TimeOf(X509_get0_notBefore(certificate)) > now) return Refuse(path, "is not valid yet");
    expiry = std::min(expiry, TimeOf(X509_get0_notAfter(certificate)));
    if (i + 1 == chain.size()) continue;
    X509* issuer = chain[i + 1].get();
    if (X509_check_issued(issuer, certificate) != X509_V_OK ||
        X509_verify(certificate, X509_get0_pubkey(issuer)) != 1) {
      return Refuse(path, "has a certificate that the next one did not issue");
    }
  }
  if (expiry <= now) return Refuse(path, "has expired");
  return expiry;
}

int ChooseHttp2(SSL*, const unsigned char** chosen, unsigned char* size,
                const unsigned char* offered, unsigned int offered_size, void*) {
  unsigned char* found = nullptr;
  const int result =
      SSL_select_next_proto(&found, size, kHttp2, sizeof(kHttp2), offered, offered_size);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

void SetRules(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(context, 0);  // of TLS 1.3, which sends them else
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // An idle connection keeps no buffers.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  // One reading works through one record, and not through all changes of keys that a client has
  // sent.
  SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_alpn_select_cb(context, ChooseHttp2, nullptr);
}

// An old one may stand beside the one that follows it, and one for later.
absl::Status AskForCertificates(const std::string& path, absl::Time now, SSL_CTX* context) {
  ASSIGN_OR_RETURN(const std::vector<Owned<X509>> authorities, ReadCertificates(path));
  const bool one_is_valid =
      std::any_of(authorities.begin(), authorities.end(), [now](const Owned<X509>& authority) {
        return TimeOf(X509_get0_notBefore(authority.get())) <= now &&
               now < TimeOf(X509_get0_notAfter(authority.get()));
      });
  if (!one_is_valid) return Refuse(path, "has no authority that is valid now");
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const Owned<X509>& authority : authorities) {
    if (X509_check_ca(authority.get()) == 0 || X509_STORE_add_cert(store, authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1) {
      return Refuse(path, "has a certificate that cannot be an authority");
    }
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(context, kMostIntermediates);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::Read(const TlsFiles& files,
                                                                   absl::Time now) {
  ASSIGN_OR_RETURN(const std::vector<Owned<X509>> chain, ReadCertificates(files.certificate));
  ASSIGN_OR_RETURN(const Owned<EVP_PKEY> key, ReadKey(files.key));
  ASSIGN_OR_RETURN(const absl::Time expiry, CheckChain(files.certificate, chain, now));
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    return Refuse(files.key, absl::StrCat("is not the key of ", files.certificate));
  }
  std::shared_ptr<const TlsContext> made(new TlsContext(SSL_CTX_new(TLS_server_method()), expiry));
  SSL_CTX* context = made->get();
  if (context == nullptr) return absl::InternalError("OpenSSL has no TLS");
  SetRules(context);
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return Refuse(files.certificate, "is too weak, or of no kind that TLS knows");
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) {
      return Refuse(files.certificate, "has a certificate that is too weak");
    }
  }
  if (!files.client_ca.empty()) RETURN_IF_ERROR(AskForCertificates(files.client_ca, now, context));
  ERR_clear_error();
  return made;
}

}  // namespace peerage
