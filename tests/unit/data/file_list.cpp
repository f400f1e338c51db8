// The files that names, folders, patterns and lists stand for.
#include <filesystem>
#include <string>
#include <vector>

#include <strata/data/file_list.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"
#include "unit/io/scratch_directory.hpp"

namespace {

std::vector<std::string> listed(const scratch_directory& directory, const std::vector<std::string>& names) {
  std::vector<std::string> own;
  for (const std::string& each : names)
    own.push_back(each.starts_with('@') ? "@" + (directory / each.substr(1)).string() : (directory / each).string());
  std::vector<std::string> files;
  for (const auto& each : strata::list_files(own))
    files.push_back(std::filesystem::relative(each, directory.path()).string());
  return files;
}

}  // namespace

TEST_CASE("names stand for files, folders, patterns and lists") {
  const scratch_directory directory;
  std::filesystem::create_directories(directory / "books/old");
  std::filesystem::create_directories(directory / "nothing/in/here");
  for (const char* name : {"books/b.txt", "books/a.txt", "books/old/c.txt", "books/.hidden", "d.txt", "odd[1].txt"})
    write_plainly(directory / name, "text");
  using names = std::vector<std::string>;
  CHECK(listed(directory, {"d.txt"}) == names{"d.txt"});
  CHECK(listed(directory, {"books"}) == names{"books/a.txt", "books/b.txt", "books/old/c.txt"});
  CHECK(listed(directory, {"d.txt", "books/*.txt"}) == names{"d.txt", "books/a.txt", "books/b.txt"});
  CHECK(listed(directory, {"books/[b-z].*"}) == names{"books/b.txt"});
  CHECK(listed(directory, {"odd[1].txt"}) == names{"odd[1].txt"});
  write_plainly(directory / "list",
                (directory / "books/b.txt").string() + "\r\n\n" + (directory / "books/o*").string());
  CHECK(listed(directory, {"@list", "d.txt"}) == names{"books/b.txt", "books/old/c.txt", "d.txt"});

  const auto problem = [&](const names& all) { return message_of([&] { listed(directory, all); }); };
  CHECK(missing_in(problem({"nothing"}), {"the folder", "nothing", "has no files"}) == "");
  CHECK(missing_in(problem({"*.md"}), {"no file matches", "*.md"}) == "");
  CHECK(missing_in(problem({"absent.txt"}), {"absent.txt", "No such file"}) == "");
  CHECK(missing_in(problem({"d.txt", "d.txt"}), {"d.txt", "is given twice"}) == "");
  std::filesystem::create_symlink("d.txt", directory / "link.txt");
  CHECK(missing_in(problem({"d.txt", "link.txt"}), {"d.txt", "link.txt", "are the same file"}) == "");
  write_plainly(directory / "empty", "\n");
  CHECK(missing_in(problem({"@empty"}), {"the list of files", "empty", "is empty"}) == "");
  CHECK(message_of([] { strata::list_files({""}); }) == "the name of a text must not be empty");
  // A folder that links to itself ends.
  std::filesystem::create_directory_symlink("..", directory / "books/up");
  CHECK(listed(directory, {"books"}).size() == 3);
}
