// Reads files, whole or in parts. Replaces a file so that at any moment the disk holds either the old or the new
// content.
// Source: open(2), fsync(2) (a file's directory must be flushed too), rename(2), mmap(2).
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <mutex>
#include <poll.h>
#include <span>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include <strata/core/buffer.hpp>
#include <strata/core/error.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// "cannot write "path": No space left on device".
[[noreturn]] inline void fail_on_file(const char* action, const std::filesystem::path& path, int code) {
  fail("cannot ", action, " ", path, ": ", std::generic_category().message(code));
}

/// Repeats a system call that a signal interrupted.
template <class Call>
auto uninterrupted(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

/// What a directory entry is, in words, if it is not a regular file; otherwise null.
inline const char* special_kind(mode_t mode) {
  if (S_ISREG(mode)) return nullptr;
  if (S_ISDIR(mode)) return "it is a directory";
  if (S_ISFIFO(mode)) return "it is a pipe, not a regular file";
  if (S_ISSOCK(mode)) return "it is a socket, not a regular file";
  return "it is a device, not a regular file";
}

/// Owns an open file.
class file_descriptor {
 public:
  file_descriptor() = default;
  explicit file_descriptor(int number) : number_(number) {}
  file_descriptor(file_descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  file_descriptor& operator=(file_descriptor other) noexcept {  // by value: the old file closes here
    std::swap(number_, other.number_);
    return *this;
  }
  ~file_descriptor() { close(); }

  int number() const { return number_; }
  /// Returns the error number, or 0. An interrupted close counts as closed: Linux has already released the number.
  int close() {
    if (number_ < 0) return 0;
    const int result = ::close(std::exchange(number_, -1));
    return result == 0 || errno == EINTR ? 0 : errno;
  }

 private:
  int number_ = -1;
};

/// Stands between a file's name and the numbers of a temporary file.
inline constexpr std::string_view temporary_suffix = ".tmp-";

/// A new file beside `target`. It is removed unless it replaces the target.
class temporary_file {
 public:
  explicit temporary_file(std::filesystem::path target) : target_(std::move(target)) {
    // A killed process with the same number may have left this file behind: then try the next name.
    for (int attempt = 0; file_.number() < 0; ++attempt) {
      path_ = target_;
      path_ += to_text(temporary_suffix, ::getpid(), "-", attempt);
      file_ = file_descriptor(
          uninterrupted([&] { return ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }));
      if (file_.number() < 0 && (errno != EEXIST || attempt == 999)) fail_on_file("write", target_, errno);
    }
  }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;
  ~temporary_file() {
    if (!in_place_) ::unlink(path_.c_str());
  }

  int number() const { return file_.number(); }
  void take_mode(mode_t mode) {
    struct stat own {};
    check(::fstat(number(), &own));
    if ((own.st_mode & 0777) != (mode & 0777)) check(::fchmod(number(), mode & 0777));
  }
  /// Flushes the content to the disk, then renames: the name never refers to missing content.
  void take_place() {
    check(uninterrupted([&] { return ::fsync(number()); }));
    if (const int code = file_.close(); code != 0) fail_on_file("write", target_, code);
    check(::rename(path_.c_str(), target_.c_str()));
    in_place_ = true;
  }

 private:
  void check(int result) const {
    if (result != 0) fail_on_file("write", target_, errno);
  }
  std::filesystem::path target_, path_;
  file_descriptor file_;
  bool in_place_ = false;
};

/// Where the links of `path` lead; `path` itself if nothing exists there.
inline std::filesystem::path follow_links(const std::filesystem::path& path) {
  std::error_code missing;
  std::filesystem::path target = std::filesystem::canonical(path, missing);
  return missing ? path : target;
}

/// Flushes a directory, so that a rename in it survives a power cut. Some file systems cannot do this and need not.
inline void flush_directory(const file_descriptor& directory, const std::filesystem::path& path) {
  if (uninterrupted([&] { return ::fsync(directory.number()); }) == 0) return;
  if (errno != EINVAL && errno != ENOTSUP && errno != EROFS) fail_on_file("flush the directory of", path, errno);
}

}  // namespace detail

/// The output of `write_file_atomically`. Collects small pieces and passes large ones through.
class file_output {
 public:
  file_output(int descriptor, std::filesystem::path path) : descriptor_(descriptor), path_(std::move(path)) {
    pending_.reserve(capacity);
  }
  file_output(const file_output&) = delete;
  file_output& operator=(const file_output&) = delete;

  void write(std::span<const std::byte> bytes) {
    if (pending_.size() + bytes.size() > capacity) flush();
    if (bytes.size() > capacity) {
      write_through(bytes);
    } else {
      pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    }
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  void flush() {
    write_through(pending_);
    pending_.clear();
  }

 private:
  void write_through(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = detail::uninterrupted([&] { return ::write(descriptor_, bytes.data(), bytes.size()); });
      if (written <= 0) detail::fail_on_file("write", path_, written < 0 ? errno : EIO);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  static constexpr std::size_t capacity = std::size_t{1} << 16;
  int descriptor_;
  std::filesystem::path path_;
  std::vector<std::byte> pending_;
};

/// Calls `writer(file_output&)` and replaces `path` by its output. On any failure, also of the writer, the old file
/// stays and nothing else remains. Only a killed process leaves its temporary file (see `remove_leftovers`).
template <class Writer>
void write_file_atomically(const std::filesystem::path& path, Writer&& writer) {
  const std::filesystem::path target = detail::follow_links(path);
  const std::filesystem::path parent = target.has_parent_path() ? target.parent_path() : ".";
  const detail::file_descriptor directory(
      detail::uninterrupted([&] { return ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (directory.number() < 0)
    fail("cannot write ", path, ": directory ", parent, ": ", std::generic_category().message(errno));

  // Renaming would replace a device. Over a directory it would fail only after all the work.
  struct stat old {};
  const bool exists = ::stat(target.c_str(), &old) == 0;
  if (const char* kind = exists ? detail::special_kind(old.st_mode) : nullptr) fail("cannot write ", path, ": ", kind);

  detail::temporary_file temporary(target);
  if (exists) temporary.take_mode(old.st_mode);
  file_output output(temporary.number(), path);
  std::forward<Writer>(writer)(output);
  output.flush();
  temporary.take_place();
  detail::flush_directory(directory, path);
}

/// Removes the temporary files that killed processes left beside `path`. No process may be writing `path`.
inline void remove_leftovers(const std::filesystem::path& path) {
  const std::string start = path.filename().string() + std::string(detail::temporary_suffix);
  std::error_code ignored;
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  std::filesystem::directory_iterator entry(parent, ignored);
  for (; !ignored && entry != std::filesystem::directory_iterator(); entry.increment(ignored))
    if (std::error_code kept; entry->path().filename().string().starts_with(start))
      std::filesystem::remove(entry->path(), kept);
}

namespace detail {

/// Memory for the content of a file.
inline buffer<std::byte> memory_for(std::uint64_t bytes, const std::string& name) {
  try {
    return buffer<std::byte>(static_cast<index_type>(bytes));
  } catch (const error&) {
    fail("cannot read ", name, ": its ", bytes, " bytes do not fit in memory");
  }
}

/// Reads a pipe to its end. A pipe without a writer is an error: a writer may never come.
inline buffer<std::byte> read_pipe(const file_descriptor& pipe, const std::filesystem::path& path) {
  buffer<std::byte> bytes = memory_for(1 << 16, to_text(path));
  const auto resize = [&](index_type size, index_type used) {
    buffer<std::byte> other = memory_for(static_cast<std::uint64_t>(size), to_text(path));
    if (used > 0) std::memcpy(other.data(), bytes.data(), static_cast<std::size_t>(used));
    bytes = std::move(other);
  };
  for (index_type position = 0;;) {
    if (position == bytes.size()) resize(2 * position, position);
    const auto room = static_cast<std::size_t>(bytes.size() - position);
    const ssize_t count = uninterrupted([&] { return ::read(pipe.number(), bytes.data() + position, room); });
    if (count < 0 && errno == EAGAIN) {
      pollfd ready{pipe.number(), POLLIN, 0};
      uninterrupted([&] { return ::poll(&ready, 1, -1); });
    } else if (count < 0) {
      fail_on_file("read", path, errno);
    } else if (count == 0) {
      if (position == 0) fail("cannot read ", path, ": it is a pipe that nobody has written to");
      resize(position, position);
      return bytes;
    }
    if (count > 0) position += static_cast<index_type>(count);
  }
}

/// Maps a file into memory without a copy: the system reads a page at its first use.
class file_mapping {
 public:
  file_mapping() = default;
  file_mapping(const file_descriptor& file, std::uint64_t size) : size_(size) {
    void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number(), 0);
    if (memory != MAP_FAILED) data_ = static_cast<const std::byte*>(memory);
  }
  file_mapping(file_mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  file_mapping& operator=(file_mapping other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~file_mapping() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }
  /// Null if the file could not be mapped.
  const std::byte* data() const { return data_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace detail

/// Reads each part of a file on demand, so the file need not fit in memory. A pipe is read at once and kept.
class file_reader {
 public:
  explicit file_reader(const std::filesystem::path& path) : name_(to_text(path)) {
    // Without O_NONBLOCK, opening a pipe would wait for a writer that may never come.
    file_ = detail::file_descriptor(
        detail::uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); }));
    struct stat status {};
    if (file_.number() < 0 || ::fstat(file_.number(), &status) != 0) detail::fail_on_file("read", path, errno);
    if (S_ISFIFO(status.st_mode)) {
      *this = file_reader(detail::read_pipe(file_, path), name_);
      return;
    }
    if (const char* kind = detail::special_kind(status.st_mode)) fail("cannot read ", path, ": ", kind);
    size_ = static_cast<std::uint64_t>(status.st_size);
    mapped_ = std::make_unique<shared_mapping>();
  }
  /// Bytes that are already in memory; messages call them `name`.
  file_reader(buffer<std::byte> bytes, std::string name)
      : name_(std::move(name)), size_(static_cast<std::uint64_t>(bytes.size())), bytes_(std::move(bytes)) {}
  file_reader(file_reader&& other) noexcept
      : name_(std::move(other.name_)),
        size_(std::exchange(other.size_, 0)),
        file_(std::move(other.file_)),
        mapped_(std::move(other.mapped_)),
        bytes_(std::move(other.bytes_)) {}
  file_reader& operator=(file_reader&& other) noexcept {
    name_ = std::move(other.name_);
    size_ = std::exchange(other.size_, 0);
    file_ = std::move(other.file_);
    mapped_ = std::move(other.mapped_);
    bytes_ = std::move(other.bytes_);
    return *this;
  }

  const std::string& name() const { return name_; }
  /// The size at opening: bytes appended later do not count.
  std::uint64_t size() const { return size_; }

  /// Copies the bytes from `offset` on. Maps nothing: a file that became shorter is an error.
  void read(std::uint64_t offset, std::span<std::byte> target) const {
    STRATA_ASSERT(offset <= size_ && target.size() <= size_ - offset);
    if (file_.number() < 0) {
      if (!target.empty()) std::memcpy(target.data(), bytes_.data() + offset, target.size());
      return;
    }
    while (!target.empty()) {
      const ssize_t count = detail::uninterrupted(
          [&] { return ::pread(file_.number(), target.data(), target.size(), static_cast<off_t>(offset)); });
      if (count < 0) fail("cannot read ", name_, ": ", std::generic_category().message(errno));
      if (count == 0) fail_short();
      offset += static_cast<std::uint64_t>(count);
      target = target.subspan(static_cast<std::size_t>(count));
    }
  }

  /// All bytes without a copy, valid while the reader lives; the first call maps the file. The file must keep its size:
  /// touching a missing page ends the program with SIGBUS. Replacing the file by another one of the same name is safe.
  std::span<const std::byte> in_place() const {
    if (file_.number() < 0) return {bytes_.data(), static_cast<std::size_t>(size_)};
    if (size_ == 0) return {};
    if (size_now() < size_) fail_short();
    const std::lock_guard lock(mapped_->one_at_a_time);
    detail::file_mapping& mapping = mapped_->mapping;
    if (mapping.data() == nullptr) mapping = detail::file_mapping(file_, size_);
    require(mapping.data() != nullptr, "cannot map ", name_, " into memory; it can only be read");
    return {mapping.data(), static_cast<std::size_t>(size_)};
  }

 private:
  std::uint64_t size_now() const {
    struct stat status {};
    return ::fstat(file_.number(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
  }
  [[noreturn]] void fail_short() const {
    fail("cannot read ", name_, ": it ends after ", size_now(), " of ", size_, " bytes");
  }

  std::string name_;
  std::uint64_t size_ = 0;
  detail::file_descriptor file_;
  struct shared_mapping {
    std::mutex one_at_a_time;
    detail::file_mapping mapping;
  };
  std::unique_ptr<shared_mapping> mapped_;
  buffer<std::byte> bytes_;
};

/// All bytes of a file or a pipe. Bytes appended to a file meanwhile are not read.
inline buffer<std::byte> read_all(const file_reader& file) {
  return with_memory_for("reading a file", [&] {
    buffer<std::byte> bytes = detail::memory_for(file.size(), file.name());
    file.read(0, {bytes.data(), static_cast<std::size_t>(bytes.size())});
    return bytes;
  });
}
inline buffer<std::byte> read_file(const std::filesystem::path& path) { return read_all(file_reader(path)); }

}  // namespace strata
