#include "mc-guest/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-guest", "Record on this machine what a session's director asks for.", argc, argv,
                           mc::tool_guest::run);
}
