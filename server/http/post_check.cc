#include "server/http/post_check.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/ip_address.h"

namespace peerage {
namespace {

// "[::1]:9091" and "::1" alike.
std::string WithoutPort(absl::string_view host) {
  if (absl::StartsWith(host, "[")) return std::string(host.substr(1, host.find(']') - 1));
  return std::string(host.substr(0, host.find(':')));
}

bool IsJson(absl::string_view content_type) {
  const absl::string_view type = content_type.substr(0, content_type.find(';'));
  return absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(type), "application/json");
}

AdminResponse RefuseWith(int status, absl::string_view why) {
  return {.status = status, .body = absl::StrCat(why, "\n")};
}

}  // namespace

std::optional<AdminResponse> RefusePost(const PostHeaders& headers, const ListenAddress& listen) {
  const bool own_page = headers.origin.empty() || headers.origin == "http://" + headers.host ||
                        headers.origin == "https://" + headers.host;
  if (!own_page || (!headers.fetch_site.empty() && headers.fetch_site != "same-origin")) {
    return RefuseWith(403, "only this server's own pages may do that");
  }
  if (IsLoopback(listen.host) && !headers.host.empty() && !IsLoopback(WithoutPort(headers.host))) {
    return RefuseWith(403, "this server is to be called by a loopback address: see --admin-listen");
  }
  if (!IsJson(headers.content_type))
    return RefuseWith(415, "Content-Type must be application/json");
  return std::nullopt;
}

}  // namespace peerage
