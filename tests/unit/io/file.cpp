// Reading and replacing files, and every way in which that can fail.
#include <chrono>
#include <cstring>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>

#include <strata/io/file.hpp>

#include "support/catch.hpp"
#include "support/memory_limit.hpp"
#include "support/messages.hpp"
#include "unit/io/scratch_directory.hpp"

namespace {

std::string content_of(const strata::buffer<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size())};
}

void save(const std::filesystem::path& path, std::string_view content) {
  strata::write_file_atomically(path, [&](strata::file_output& output) { output.write(content); });
}

/// No file may grow past `bytes`: to a program this is a full disk.
class file_size_limit {
 public:
  explicit file_size_limit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &old_limit_);
    old_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, old_limit_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  file_size_limit(const file_size_limit&) = delete;
  file_size_limit& operator=(const file_size_limit&) = delete;
  ~file_size_limit() {
    ::setrlimit(RLIMIT_FSIZE, &old_limit_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_limit_{};
  void (*old_handler_)(int) = nullptr;
};

}  // namespace

TEST_CASE("a written file is read back") {
  const scratch_directory directory;
  const auto path = directory / "file";
  for (const std::size_t size : {0u, 1u, 1000u, 65535u, 65536u, 65537u, 300000u}) {
    std::string content(size, '\0');
    for (std::size_t at = 0; at < size; ++at) content[at] = static_cast<char>(at * 31 + at / 256);
    save(path, content);
    CHECK(content_of(strata::read_file(path)) == content);
    CHECK(read_plainly(path) == content);
  }
  CHECK(directory.names() == std::set<std::string>{"file"});
}

TEST_CASE("pieces of any size arrive in order") {
  const scratch_directory directory;
  const auto path = directory / "file";
  std::string expected;
  strata::write_file_atomically(path, [&](strata::file_output& output) {
    for (const std::size_t size : {3u, 70000u, 1u, 65536u, 0u, 65535u, 2u, 40000u, 40000u, 5u}) {
      const std::string piece(size, static_cast<char>('a' + expected.size() % 26));
      output.write(piece);
      expected += piece;
    }
  });
  CHECK(read_plainly(path) == expected);
}

TEST_CASE("a relative path without a directory works") {
  const scratch_directory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  const std::string message = message_of([] { save("plain", "content"); });
  std::filesystem::current_path(before);
  CHECK(message == "(no strata::error was thrown)");
  CHECK(read_plainly(directory / "plain") == "content");
}

TEST_CASE("a replaced file keeps its permissions, a link stays a link") {
  const scratch_directory directory;
  const auto path = directory / "file";
  write_plainly(path, "old");
  std::filesystem::permissions(path, std::filesystem::perms(0640));
  std::filesystem::create_directory(directory / "elsewhere");
  const auto link = directory / "elsewhere/link";
  std::filesystem::create_symlink("../file", link);
  save(link, "new");
  CHECK(std::filesystem::is_symlink(link));
  CHECK(read_plainly(path) == "new");
  CHECK(static_cast<int>(std::filesystem::status(path).permissions()) == 0640);
}

TEST_CASE("a full disk leaves the old file and no other") {
  const scratch_directory directory;
  const auto path = directory / "checkpoint";
  write_plainly(path, "old content");
  // Around the size of the output's own memory: writing fails, or the last flush.
  for (const std::size_t size : {5000u, 65536u, 65537u, 500000u}) {
    std::string message;
    {
      const file_size_limit limit(4096);
      message = message_of([&] { save(path, std::string(size, 'x')); });
    }
    CHECK(missing_in(message, {"cannot write", path.string(), std::strerror(EFBIG)}) == "");
    CHECK(read_plainly(path) == "old content");
    CHECK(directory.names() == std::set<std::string>{"checkpoint"});
  }
}

TEST_CASE("what the writer throws arrives unchanged and leaves the old file and no other") {
  const scratch_directory directory;
  const auto path = directory / "checkpoint";
  write_plainly(path, "old content");
  const auto attempt = [&] {
    strata::write_file_atomically(path, [](strata::file_output& output) {
      output.write(std::string(100000, 'x'));
      throw strata::error("the writer's own reason");
    });
  };
  CHECK(message_of(attempt) == "the writer's own reason");
  CHECK(read_plainly(path) == "old content");
  CHECK(directory.names() == std::set<std::string>{"checkpoint"});
}

TEST_CASE("writing names the path and the reason") {
  const scratch_directory directory;
  SECTION("the directory does not exist") {
    const auto path = directory / "absent/file";
    CHECK(missing_in(message_of([&] { save(path, "x"); }),
                     {"cannot write", path.string(), "absent\"", std::strerror(ENOENT)}) == "");
  }
  SECTION("the directory is a file") {
    write_plainly(directory / "plain", "");
    const auto path = directory / "plain/file";
    CHECK(missing_in(message_of([&] { save(path, "x"); }), {"cannot write", path.string(), std::strerror(ENOTDIR)}) ==
          "");
  }
  SECTION("the target is a directory") {
    std::filesystem::create_directory(directory / "target");
    CHECK(missing_in(message_of([&] { save(directory / "target", "x"); }), {"target", "it is a directory"}) == "");
    CHECK(directory.names() == std::set<std::string>{"target"});
  }
  SECTION("the target is a pipe, and stays one") {
    const auto path = directory / "pipe";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    CHECK(missing_in(message_of([&] { save(path, "x"); }), {path.string(), "it is a pipe"}) == "");
    CHECK(std::filesystem::is_fifo(path));
  }
  SECTION("the directory is read-only") {
    write_plainly(directory / "file", "old");
    std::filesystem::permissions(directory.path(), std::filesystem::perms(0555));
    {
      const without_root user;
      if (user.active()) {
        CHECK(missing_in(message_of([&] { save(directory / "file", "x"); }),
                         {"cannot write", (directory / "file").string(), std::strerror(EACCES)}) == "");
      }
    }
    std::filesystem::permissions(directory.path(), std::filesystem::perms(0755));
    CHECK(read_plainly(directory / "file") == "old");
    CHECK(directory.names() == std::set<std::string>{"file"});
  }
}

TEST_CASE("the remains of a killed process with the same number are not in the way") {
  const scratch_directory directory;
  const std::string name = "file.tmp-" + std::to_string(::getpid()) + "-0";
  write_plainly(directory / name, "half of it");
  save(directory / "file", "content");
  CHECK(read_plainly(directory / "file") == "content");
  CHECK(read_plainly(directory / name) == "half of it");
}

TEST_CASE("a process killed at any moment leaves a whole file") {
  const scratch_directory directory;
  const auto path = directory / "file";
  const std::string contents[] = {std::string(200000, 'a'), std::string(300000, 'b')};
  save(path, contents[0]);
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      // A failure must not continue as a second run of the tests.
      try {
        for (int turn = 0;; ++turn) save(path, contents[turn % 2]);
      } catch (...) {
        ::_exit(1);
      }
    }
    REQUIRE(child > 0);
    std::this_thread::sleep_for(std::chrono::microseconds(500 + 731 * round));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    const std::string found = read_plainly(path);
    CHECK((found == contents[0] || found == contents[1]));
  }
}

TEST_CASE("reading names the path and the reason") {
  const scratch_directory directory;
  const auto reading = [](const std::filesystem::path& path) { return message_of([&] { strata::read_file(path); }); };
  SECTION("missing") {
    CHECK(missing_in(reading(directory / "absent"),
                     {"cannot read", (directory / "absent").string(), std::strerror(ENOENT)}) == "");
  }
  SECTION("a directory") {
    CHECK(missing_in(reading(directory.path()), {directory.path().string(), "it is a directory"}) == "");
  }
  SECTION("a pipe, without waiting for someone to write to it") {
    REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
    CHECK(missing_in(reading(directory / "pipe"), {"pipe\"", "it is a pipe that nobody has written to"}) == "");
  }
#if STRATA_TESTS_WITHOUT_MEMORY
  SECTION("too large") {
    write_plainly(directory / "large", "");
    std::filesystem::resize_file(directory / "large", std::uintmax_t{1} << 36);
    std::string message;
    {
      const no_more_memory limit;
      message = reading(directory / "large");
    }
    CHECK(missing_in(message, {"cannot read", "large\"", "its 68719476736 bytes do not fit in memory"}) == "");
  }
#endif
  SECTION("a device") { CHECK(missing_in(reading("/dev/null"), {"/dev/null", "it is a device"}) == ""); }
  SECTION("unreadable") {
    std::filesystem::permissions(directory.path(), std::filesystem::perms(0755));
    write_plainly(directory / "secret", "x");
    std::filesystem::permissions(directory / "secret", std::filesystem::perms(0));
    const without_root user;
    if (user.active()) {
      CHECK(missing_in(reading(directory / "secret"),
                       {"cannot read", (directory / "secret").string(), std::strerror(EACCES)}) == "");
    }
  }
}

TEST_CASE("a pipe is read to its end") {
  std::string content(300000, '\0');
  for (std::size_t at = 0; at < content.size(); ++at) content[at] = static_cast<char>(at * 31 + at / 256);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const strata::detail::file_descriptor from(ends[0]);
  strata::detail::file_descriptor to(ends[1]);
  std::thread writer([&] {
    // Late, and in two pieces: the reader must wait.
    std::string_view left = content;
    for (const std::size_t piece : {std::size_t{1}, content.size() - 1}) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      for (const std::size_t end = left.size() - piece; left.size() > end;) {
        const ssize_t count = ::write(to.number(), left.data(), left.size() - end);
        if (count <= 0) break;
        left.remove_prefix(static_cast<std::size_t>(count));
      }
    }
    to.close();
  });
  const std::string found = content_of(strata::read_file("/dev/fd/" + std::to_string(from.number())));
  writer.join();
  CHECK((found == content));  // too long to be shown
}

TEST_CASE("parts of a file are read where they are, whatever happens to its name") {
  const scratch_directory directory;
  write_plainly(directory / "file", "0123456789");
  const strata::file_reader reader(directory / "file");
  save(directory / "file", "new");  // another file under the same name
  const auto part = [&](std::uint64_t offset, std::size_t count) {
    std::string text(count, ' ');
    reader.read(offset, std::as_writable_bytes(std::span(text)));
    return text;
  };
  CHECK(reader.size() == 10);
  CHECK(part(0, 10) == "0123456789");
  CHECK(part(7, 3) == "789");
  CHECK(part(10, 0) == "");
  CHECK(std::memcmp(reader.in_place().data(), "0123456789", 10) == 0);
  CHECK(reader.in_place().size() == 10);

  write_plainly(directory / "empty", "");
  CHECK(strata::file_reader(directory / "empty").in_place().empty());
  CHECK(strata::read_file(directory / "empty").size() == 0);
}

TEST_CASE("what was moved is empty, and what it moved onto is closed") {
  const scratch_directory directory;
  write_plainly(directory / "file", "0123456789");
  write_plainly(directory / "other", "abc");
  strata::file_reader from(directory / "file");
  CHECK(from.in_place().size() == 10);
  strata::file_reader to(std::move(from));
  CHECK(from.size() == 0);
  CHECK(from.in_place().empty());
  CHECK(to.in_place().size() == 10);
  strata::file_reader onto(directory / "other");
  onto = std::move(to);
  CHECK(to.size() == 0);
  CHECK(onto.size() == 10);
  CHECK(static_cast<char>(onto.in_place()[9]) == '9');

  strata::detail::file_descriptor first(::open("/dev/null", O_RDONLY)), second(::open("/dev/null", O_RDONLY));
  const int closed = first.number(), kept = second.number();
  first = std::move(second);
  CHECK(first.number() == kept);
  CHECK(second.number() == -1);
  CHECK(::fcntl(closed, F_GETFD) == -1);
  strata::detail::file_mapping other;
  const strata::detail::file_descriptor file(::open((directory / "file").c_str(), O_RDONLY));
  other = strata::detail::file_mapping(file, 10);
  strata::detail::file_mapping target(file, 10);
  target = std::move(other);
  CHECK(other.data() == nullptr);
  CHECK(target.data() != nullptr);
}

TEST_CASE("a file is mapped when its bytes are asked for, and not before") {
  const scratch_directory directory;
  write_plainly(directory / "file", "0123456789");
  const auto mapped = [&] {
    return read_plainly("/proc/self/maps").find((directory / "file").string()) != std::string::npos;
  };
  const strata::file_reader reader(directory / "file");
  CHECK(!mapped());
  CHECK(reader.in_place().size() == 10);
  CHECK(mapped());
}

TEST_CASE("a file that becomes shorter while it is read is an error and not the end of the program") {
  const scratch_directory directory;
  const auto path = directory / "file";
  write_plainly(path, std::string(20000, 'x'));
  const strata::file_reader reader(path);
  CHECK(reader.in_place()[19999] == std::byte{'x'});
  std::filesystem::resize_file(path, 5000);
  std::string text(20000, ' ');
  const auto reading = [&](std::uint64_t offset, std::size_t count) {
    return message_of([&] { reader.read(offset, std::as_writable_bytes(std::span(text).first(count))); });
  };
  const std::string expected = "cannot read " + strata::to_text(path) + ": it ends after 5000 of 20000 bytes";
  CHECK(reading(0, 20000) == expected);
  CHECK(reading(4000, 10000) == expected);
  CHECK(reading(10000, 1) == expected);
  CHECK(reading(4000, 1000) == "(no strata::error was thrown)");
  CHECK(message_of([&] { reader.in_place(); }) == expected);
}

TEST_CASE("what killed processes left behind is removed, and nothing else") {
  const scratch_directory directory;
  for (const char* name : {"file", "file.tmp-1-0", "file.tmp-22-3", "other.tmp-1-0"})
    write_plainly(directory / name, "x");
  std::filesystem::create_directory(directory / "file.tmp-3-0");
  write_plainly(directory / "file.tmp-3-0/kept", "x");  // cannot be removed
  strata::remove_leftovers(directory / "file");
  CHECK(directory.names() == std::set<std::string>{"file", "file.tmp-3-0", "other.tmp-1-0"});
  strata::remove_leftovers(directory / "absent/file");
  strata::remove_leftovers(directory / "file/below");
}
