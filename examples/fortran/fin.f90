! A straight cooling fin warms up on a hot wall until it gives off as much heat as it takes in.
!
!   fin DECK            reads the namelists of the file DECK, writes profile.dat, and says how much heat flows
!
! The fin is thin, so that the temperature T depends on the distance x from the wall alone; all per metre of width:
!
!   rho c t(x) dT/dt = d/dx ( k t(x) dT/dx ) - 2 h (T - Ta) - 2 e sigma (T**4 - Ta**4)
!
! Its thickness is t(x) = t(0) (1 - x/length)**taper, and t(0) follows from the area of the profile, which is given.
! Finite volumes in space, implicit Euler in time; the radiation is linearised about the step before.
program fin
   implicit none
   integer, parameter :: dp = kind(1.0d0)
   real(dp), parameter :: sigma = 5.670374419e-8_dp   ! W/m2/K4, Stefan and Boltzmann's constant

   real(dp) :: length = 0.1_dp, taper = 0.0_dp, area = 1.0e-4_dp                             ! m, 1, m2
   real(dp) :: conductivity = 200.0_dp, density = 2700.0_dp, heat_capacity = 900.0_dp        ! W/m/K, kg/m3, J/kg/K
   real(dp) :: wall = 373.15_dp, air = 293.15_dp, coefficient = 50.0_dp, emissivity = 0.0_dp ! K, K, W/m2/K, 1
   integer :: cells = 2000, steps = 100000
   real(dp) :: time_step = 0.02_dp, tolerance = 1.0e-6_dp                                     ! s, 1
   namelist /shape/ length, taper, area
   namelist /material/ conductivity, density, heat_capacity
   namelist /cooling/ wall, air, coefficient, emissivity
   namelist /numerics/ cells, steps, time_step, tolerance

   real(dp), allocatable :: thickness(:), conductance(:), loss(:), temperature(:), lower(:), diagonal(:), right(:)
   real(dp) :: dx, base, heat_in, heat_out
   character(len=256) :: deck
   integer :: i, step, unit
   logical :: steady = .false.

   if (command_argument_count() /= 1) error stop 'usage: fin DECK'
   call get_command_argument(1, deck)
   open (newunit=unit, file=deck, status='old', action='read')
   read (unit, nml=shape)
   read (unit, nml=material)
   read (unit, nml=cooling)
   read (unit, nml=numerics)
   close (unit)
   if (length <= 0 .or. taper < 0 .or. area <= 0) error stop 'fin: length and area have to be above 0, taper 0 or more'

   if (cells < 1) error stop 'fin: at least one cell'

   allocate (thickness(cells), conductance(cells), loss(cells), temperature(cells))
   allocate (lower(cells), diagonal(cells), right(cells))
   dx = length/cells
   base = area*(taper + 1)/length
   ! The mean thickness of each cell, and what its face towards the wall lets through.
   do i = 1, cells
      thickness(i) = area/dx*((1 - (i - 1)*dx/length)**(taper + 1) - (1 - i*dx/length)**(taper + 1))
      conductance(i) = conductivity*base*(1 - (i - 1)*dx/length)**taper/dx
   end do
   conductance(1) = 2*conductance(1)   ! half a cell lies between the wall and the first temperature
   temperature = air

   write (*, '(a)') '    step     time [s]    heat in [W/m]   heat out [W/m]'
   do step = 1, steps
      loss = 2*dx*(coefficient + emissivity*sigma*(temperature**2 + air**2)*(temperature + air))
      call advance
      heat_in = conductance(1)*(wall - temperature(1))
      heat_out = sum(loss*(temperature - air))
      steady = abs(heat_in - heat_out) < tolerance*heat_in
      if (mod(step, 500) == 0 .or. steady) write (*, '(i8, f13.1, 2f17.4)') step, step*time_step, heat_in, heat_out
      if (steady) exit
   end do
   if (.not. steady) error stop 'fin: not steady after the last step'

   open (newunit=unit, file='profile.dat', status='replace', action='write')
   write (unit, '(a)') '#       x [m]   thickness [m]   temperature [K]'
   do i = 1, cells, max(1, cells/100)
      write (unit, '(es13.5, es16.5, f18.4)') (i - 0.5_dp)*dx, thickness(i), temperature(i)
   end do
   close (unit)
   write (*, '(a, f10.3, a)') ' THICKNESS AT THE WALL ', 1000*base, ' mm'
   write (*, '(a, f10.3, a)') ' HEAT FLOW             ', heat_out, ' W/m'

contains

   !> One step in time: the tridiagonal system of all cells, solved by elimination.
   subroutine advance
      real(dp) :: storage, factor
      do i = 1, cells
         storage = density*heat_capacity*thickness(i)*dx/time_step
         lower(i) = -conductance(i)
         diagonal(i) = storage + loss(i) + conductance(i)
         if (i < cells) diagonal(i) = diagonal(i) + conductance(i + 1)
         right(i) = storage*temperature(i) + loss(i)*air
      end do
      right(1) = right(1) + conductance(1)*wall
      do i = 2, cells
         factor = lower(i)/diagonal(i - 1)
         diagonal(i) = diagonal(i) - factor*lower(i)   ! what lies above the diagonal equals what lies below
         right(i) = right(i) - factor*right(i - 1)
      end do
      temperature(cells) = right(cells)/diagonal(cells)
      do i = cells - 1, 1, -1
         temperature(i) = (right(i) - lower(i + 1)*temperature(i + 1))/diagonal(i)
      end do
   end subroutine advance

end program fin
