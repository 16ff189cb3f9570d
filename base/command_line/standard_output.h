#pragma once

#include <array>
#include <streambuf>
#include <string>

namespace peerage {

// Takes std::cout's output for as long as it lives, and remembers when writing it failed: a program
// whose answer was lost must not end as if it had been read. After a failure std::cout is bad, so
// that a long answer can end early.
//
// Standard descriptors that are closed are filled at first, with what cannot be read or written:
// else the next file or connection would get the number, and the answer with it.
class StandardOutput : private std::streambuf {
 public:
  StandardOutput();
  ~StandardOutput() override;

  StandardOutput(const StandardOutput&) = delete;
  StandardOutput& operator=(const StandardOutput&) = delete;

  // Writes what is left. The exit code of a program that would end with this one: 1 instead of 0,
  // and one line on standard error, when output was lost. A reader that went away is not told so
  // (128 + SIGPIPE), as shells do it.
  int Finish(const std::string& program, int exit_code);

 private:
  int_type overflow(int_type next) override;
  int sync() override;

  std::array<char, 1 << 14> buffer_;
  std::streambuf* const replaced_;
  int error_ = 0;  // errno of the first write that failed
};

}  // namespace peerage
