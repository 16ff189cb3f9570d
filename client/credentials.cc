#include "client/credentials.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"

namespace peerage::client {
namespace {

absl::StatusOr<std::string> Contents(absl::string_view option, const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": ", Quoted(path), " cannot be read, or is empty"));
  }
  return text;
}

// As a header may hold it (RFC 6750, section 2.1, and a little more).
bool IsToken(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return absl::ascii_isgraph(c); });
}

}  // namespace

absl::StatusOr<Credentials> ReadCredentials(const CredentialFiles& files) {
  if (files.tls_cert.empty() != files.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key: one needs the other");
  }
  if (!files.tls_cert.empty() && files.tls_ca.empty()) {
    return absl::InvalidArgumentError("--tls-cert: needs --tls-ca");
  }
  Credentials credentials;
  ASSIGN_OR_RETURN(credentials.authorities, Contents("--tls-ca", files.tls_ca));
  ASSIGN_OR_RETURN(credentials.certificate, Contents("--tls-cert", files.tls_cert));
  ASSIGN_OR_RETURN(credentials.key, Contents("--tls-key", files.tls_key));
  ASSIGN_OR_RETURN(const std::string text, Contents("--token-file", files.token));
  credentials.token = std::string(absl::StripAsciiWhitespace(text));
  if (!files.token.empty() && !IsToken(credentials.token)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--token-file: ", Quoted(files.token), " is not a token on a line"));
  }
  return credentials;
}

}  // namespace peerage::client
