#include "base/command_line/standard_output.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>

namespace peerage {
namespace {

bool IsOpen(int descriptor) { return fcntl(descriptor, F_GETFD) != -1; }

// open() takes the lowest free number. The wrong direction makes every use an error.
void FillClosedDescriptors() {
  if (!IsOpen(STDIN_FILENO)) open("/dev/null", O_WRONLY);
  if (!IsOpen(STDOUT_FILENO)) open("/dev/null", O_RDONLY);
  if (!IsOpen(STDERR_FILENO)) open("/dev/null", O_RDONLY);
}

}  // namespace

StandardOutput::StandardOutput() : replaced_(std::cout.rdbuf(this)) {
  FillClosedDescriptors();
  setp(buffer_.data(), buffer_.data() + buffer_.size());
}

StandardOutput::~StandardOutput() { std::cout.rdbuf(replaced_); }

StandardOutput::int_type StandardOutput::overflow(int_type next) {
  if (sync() != 0) return traits_type::eof();
  if (!traits_type::eq_int_type(next, traits_type::eof())) {
    sputc(traits_type::to_char_type(next));
  }
  return traits_type::not_eof(next);
}

int StandardOutput::sync() {
  const char* from = pbase();
  while (from != pptr() && error_ == 0) {
    const ssize_t written = write(STDOUT_FILENO, from, pptr() - from);
    if (written >= 0) {
      from += written;
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
  setp(buffer_.data(), buffer_.data() + buffer_.size());
  return error_ == 0 ? 0 : -1;
}

int StandardOutput::Finish(const std::string& program, int exit_code) {
  std::cout.flush();
  if (error_ == 0) return exit_code;
  if (error_ == EPIPE) return 128 + SIGPIPE;
  std::cerr << program << ": standard output: " << std::strerror(error_) << "\n";
  return exit_code == 0 ? 1 : exit_code;
}

}  // namespace peerage
