#pragma once

#include <optional>
#include <string>

#include "server/http/admin_server.h"

namespace peerage {

// What a POST says of itself in its headers; "" for what it does not say.
struct PostHeaders {
  std::string content_type;
  std::string host;        // that it believes to call
  std::string origin;      // of the page that calls; only browsers say
  std::string fetch_site;  // Sec-Fetch-Site, likewise
};

// The answer to a POST that may come from a page of somebody else (403), or that holds no JSON
// (415); see AdminServer. `listen` is where it arrived.
std::optional<AdminResponse> RefusePost(const PostHeaders& headers, const ListenAddress& listen);

}  // namespace peerage
