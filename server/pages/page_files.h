#pragma once

#include <vector>

namespace peerage {

// A file of the pages, as it lies in server/pages/web.
struct PageFile {
  const char* name;
  const char* text;
};

const std::vector<PageFile>& PageFiles();

}  // namespace peerage
