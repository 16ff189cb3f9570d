#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace peerage::client {

// What a client shows to a server, and whom it trusts; nothing: plaintext, and nobody asks.
struct Credentials {
  std::string authorities;  // certificates in PEM; empty without TLS
  std::string certificate;  // the client's own, PEM; empty: none
  std::string key;
  std::string token;  // sent as a bearer token with every call; empty: none

  bool tls() const { return !authorities.empty(); }
};

// Files; empty: none.
struct CredentialFiles {
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string token;
};

// Reads them. A token stands on the first line of its file, alone. INVALID_ARGUMENT names the file,
// or the option that lacks another; nothing of a secret is ever in it.
absl::StatusOr<Credentials> ReadCredentials(const CredentialFiles& files);

}  // namespace peerage::client
