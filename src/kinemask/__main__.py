import sys

from kinemask.cli import main

sys.exit(main())
